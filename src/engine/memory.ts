// What a fast operation may do: make tensors on the backends that have our C kernels (native and wasm) and call kernels
// on them. Both backends share one form of each operation; only where tensors live differs.

import type { TensorInfo } from './tf.ts';
import { tf } from './tf.ts';

/** An argument of a C kernel, in the order that its comment gives. Integers are only read. */
export type KernelArgument = Float32Array | Int32Array | Uint16Array | readonly Float32Array[] | number | boolean;

/** The memory of the running backend, as one operation sees it. */
export interface KernelMemory {
  /** A new fp32 tensor, not cleared. */
  allocate(shape: number[]): TensorInfo;
  /** The tensor's values, in place, for reading and for arguments of `call`. Write only into what `allocate` gave. */
  view(tensor: TensorInfo): Float32Array;
  /** The tensor's values for changing them in place. A borrowed array (the caller's own) is copied first.
   *  @throws Error when another tensor shares the values. */
  own(tensor: TensorInfo): Float32Array;
  /** Frees a tensor that is not among the outputs. */
  release(...tensors: TensorInfo[]): void;
  /** Runs a C kernel by name. Sizes must have been checked: the kernel trusts them.
   *  @throws Error when memory has run out. */
  call(kernel: string, ...values: KernelArgument[]): void;
}

/** The backends that run C kernels. */
export const KERNEL_BACKENDS = ['native', 'wasm'] as const;

export type FastKernel<A> = (memory: KernelMemory, inputs: Record<string, TensorInfo>, attributes: A) => TensorInfo[];

/** Registers the fast form of an operation for all backends with C kernels. Once, at the top level of its file. */
export function registerFast<A>(kernelName: string, kernel: FastKernel<A>): void {
  for (const backendName of KERNEL_BACKENDS) {
    if (tf.getKernel(kernelName, backendName)) continue;
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) =>
        kernel(backend as unknown as KernelMemory, inputs as Record<string, TensorInfo>, attrs as unknown as A),
    });
  }
}
