// Replaces a kernel of tfjs on the native backend by one of ours, where ours fits; elsewhere tfjs's own still runs.
import type { HostMemory } from '../host.ts';
import { memoryOfNative } from '../host.ts';
import type { TensorInfo } from '../tf.ts';
import { tf } from '../tf.ts';

type Inputs = Record<string, TensorInfo>;

/** `kernel` returns null for what it does not handle (other types, shapes to be broadcast). */
export function replaceKernel<A>(
  kernelName: string,
  kernel: (memory: HostMemory, inputs: Inputs, attributes: A) => TensorInfo | TensorInfo[] | null,
): void {
  const former = tf.getKernel(kernelName, 'native');
  if (former) tf.unregisterKernel(kernelName, 'native');
  tf.registerKernel({
    kernelName,
    backendName: 'native',
    kernelFunc: call => {
      const made = kernel(memoryOfNative(call.backend), call.inputs as Inputs, call.attrs as unknown as A);
      return made ?? former.kernelFunc(call);
    },
  });
}

/** Whether all are fp32 and of one shape. */
export const alike = (a: TensorInfo, b: TensorInfo): boolean =>
  a.dtype === 'float32' && b.dtype === 'float32' && tf.util.arraysEqual(a.shape, b.shape);
