// The tfjs backend `native`: tensors in ordinary typed arrays (no heap limit), matrix products in C, the rest of what
// training uses in loops over typed arrays, and every kernel of tfjs's own `cpu` backend for what is left.
import { loadNative, type NativeKernels, type NativePlaces } from '../native/load.ts';
import { tf } from '../tf.ts';
import { registerElementwise } from './elementwise.ts';
import { registerProducts } from './products.ts';

const NAME = 'native';
const MOST_THREADS = 64; // what the kernels take

class NativeBackend extends tf.MathBackendCPU {
  readonly kernels: NativeKernels;

  constructor(kernels: NativeKernels) {
    super();
    this.kernels = kernels;
    Object.assign(this, { firstUse: false }); // else the first tensor prints an advertisement
  }
}

/** Makes `native` known to tfjs, on these products. Does nothing when it is known already. */
function register(kernels: NativeKernels): void {
  if (tf.findBackendFactory(NAME)) return;
  for (const kernel of tf.getKernelsForBackend('cpu')) {
    const ours = kernel.kernelName.startsWith('Moe'); // host kernels are registered for native by themselves
    if (!ours) tf.registerKernel({ ...kernel, backendName: NAME });
  }
  registerProducts();
  registerElementwise();
  tf.registerBackend(NAME, () => new NativeBackend(kernels));
}

/** Compiles or finds the C kernels and registers the backend on them. `why` is one sentence either way. */
export function openNative(places: NativePlaces, threads: number): { works: boolean; why: string } {
  const load = loadNative(places);
  if (!load.works) return load;
  const had = load.kernels.setThreads(Math.min(threads, MOST_THREADS));
  register(load.kernels);
  return {
    works: true,
    why: `C kernels for ${load.kernels.info().isa} on ${had === 1 ? 'one thread' : `${had} threads`}.`,
  };
}
