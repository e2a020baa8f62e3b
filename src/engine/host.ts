// Host kernels: loops over typed arrays, written once and registered for every backend whose memory the host can
// address. cpu and native keep each tensor in a typed array; wasm keeps all in one heap that typed arrays can view.
// A kernel may also call the backend's own fast kernels (matrix product, softmax, sigmoid) on the tensors it makes.

import type { NativeKernels } from './native/load.ts';
import type { TensorInfo } from './tf.ts';
import { tf } from './tf.ts';

/** The memory of the current backend, as one kernel call sees it. */
export interface HostMemory {
  /** A new fp32 tensor, not cleared. The wasm heap may move when it grows, so every view taken before is then dead:
   *  allocate (and `run`) first, `view` after. */
  allocate(shape: number[]): TensorInfo;
  /** The tensor's values, in place. Never write into a tensor that another kernel has already read as its right-hand
   *  matrix: the matrix product keeps a packed copy of it for as long as it lives. */
  view(tensor: TensorInfo): Float32Array;
  /** Frees a tensor that is not among the outputs. */
  release(...tensors: TensorInfo[]): void;
  /** Runs another kernel of this backend. */
  run(kernel: string, inputs: Record<string, TensorInfo>, attributes?: object): TensorInfo;
  /** Matrix products that are fast in all transposes, where the backend has them. */
  kernels?: NativeKernels;
}

export type HostKernel<A> = (memory: HostMemory, inputs: Record<string, TensorInfo>, attributes: A) => TensorInfo[];

interface HostBackend {
  disposeData(id: object): boolean;
}
interface CpuBackend extends HostBackend {
  makeTensorInfo(shape: number[], dtype: 'float32', values: Float32Array): TensorInfo;
  data: { get(id: object): { values: Float32Array } };
}
interface NativeHost extends CpuBackend {
  kernels: NativeKernels;
}
interface WasmBackend extends HostBackend {
  makeOutput(shape: number[], dtype: 'float32'): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array;
  incRef(id: object): void;
}

const cpuMemory = (backend: CpuBackend, name = 'cpu'): HostMemory => ({
  ...commonMemory(name, backend),
  allocate: shape => backend.makeTensorInfo(shape, 'float32', new Float32Array(tf.util.sizeFromShape(shape))),
  view: tensor => backend.data.get(tensor.dataId).values,
});

const nativeMemory = (backend: NativeHost): HostMemory => ({
  ...cpuMemory(backend, 'native'),
  view: tensor => asFloats(backend.data.get(tensor.dataId).values),
  kernels: backend.kernels,
});

/** tfjs casts integers and booleans to fp32 by a new label on the same array, which C code cannot read. */
const asFloats = (values: Float32Array): Float32Array =>
  values instanceof Float32Array ? values : Float32Array.from(values);

const wasmMemory = (backend: WasmBackend): HostMemory => ({
  ...commonMemory('wasm', backend),
  allocate: shape => backend.makeOutput(shape, 'float32'),
  view: tensor => backend.typedArrayFromHeap(tensor),
});

function commonMemory(name: string, backend: HostBackend): Pick<HostMemory, 'release' | 'run'> {
  return {
    release(...tensors) {
      for (const tensor of tensors) backend.disposeData(tensor.dataId);
    },
    run(kernel, inputs, attributes = {}) {
      const { kernelFunc } = tf.getKernel(kernel, name);
      return kernelFunc({ inputs, backend, attrs: attributes as Record<string, never> }) as TensorInfo;
    },
  };
}

const HOSTS: Record<string, (backend: never) => HostMemory> = {
  cpu: (backend: CpuBackend) => cpuMemory(backend),
  native: nativeMemory,
  wasm: wasmMemory,
};

/** The memory of the native backend, for kernels written for it alone. */
export const memoryOfNative = (backend: unknown): HostMemory => nativeMemory(backend as NativeHost);

/** Registers a host kernel for all host-addressable backends. Call it once, at the top level of the kernel's file. */
export function registerHostKernel<A>(kernelName: string, kernel: HostKernel<A>): void {
  for (const [backendName, memoryOf] of Object.entries(HOSTS)) {
    if (tf.getKernel(kernelName, backendName)) continue;
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) =>
        kernel(memoryOf(backend as never), inputs as Record<string, TensorInfo>, attrs as unknown as A),
    });
  }
}

/** Makes tfjs's Identity on wasm share memory by reference count instead of copying: saving a tensor for the gradient
 *  goes through it. Safe as no kernel of ours or of tfjs writes into a tensor that it did not make. */
export function shareIdentity(): void {
  tf.unregisterKernel('Identity', 'wasm');
  tf.registerKernel({
    kernelName: 'Identity',
    backendName: 'wasm',
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x as TensorInfo;
      (backend as WasmBackend).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
}
