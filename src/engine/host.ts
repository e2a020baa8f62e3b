// Host kernels: loops over typed arrays, written once and registered for every backend whose memory the host can
// address. cpu and native keep each tensor in a typed array; wasm keeps all in one heap that typed arrays can view.
// A kernel may also call the backend's own fast kernels (matrix product, softmax, sigmoid) on the tensors it makes.

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
  kernels?: { gemm(...values: unknown[]): void };
}

export type HostKernel<A> = (memory: HostMemory, inputs: Record<string, TensorInfo>, attributes: A) => TensorInfo[];

interface HostBackend {
  disposeData(id: object): boolean;
}
interface CpuBackend extends HostBackend {
  makeTensorInfo(shape: number[], dtype: 'float32', values: Float32Array): TensorInfo;
  data: { get(id: object): { values: Float32Array } };
}

const cpuMemory = (backend: CpuBackend, name = 'cpu'): HostMemory => ({
  ...commonMemory(name, backend),
  allocate: shape => backend.makeTensorInfo(shape, 'float32', new Float32Array(tf.util.sizeFromShape(shape))),
  view: tensor => backend.data.get(tensor.dataId).values,
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
};

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
