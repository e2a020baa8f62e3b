// What a fast operation may do: make tensors on the backends that have our C kernels (native and wasm) and call kernels
// on them. Both backends share one form of each operation; only where tensors live differs.

import type { TensorInfo } from './tf.ts';
import { tf } from './tf.ts';

/** An argument of a C kernel, in the order that its comment gives. Integers are only read. */
export type KernelArgument =
  | Float32Array
  | Int32Array
  | Uint16Array
  | readonly (Float32Array | Uint16Array)[]
  | number
  | boolean;

/** The memory of the running backend, as one operation sees it. */
export interface KernelMemory {
  /** A new fp32 tensor, not cleared. */
  allocate(shape: number[]): TensorInfo;
  /** The tensor's values, in place, for reading and for arguments of `call`. Write only into what `allocate` gave. */
  view(tensor: TensorInfo): Float32Array;
  /** The tensor's values for changing them in place. A borrowed array (the caller's own) is copied first.
   *  @throws Error when another tensor shares the values. */
  own(tensor: TensorInfo): Float32Array;
  /** The values of a tensor that is kept in bf16, in place, for arguments of `call`; null for every other tensor. */
  halves(tensor: TensorInfo): Uint16Array | null;
  /** A tensor that keeps its values in bf16. An array that kernels reach is borrowed, so it must not change. */
  keepHalves(values: Uint16Array, shape: number[]): TensorInfo;
  /** Frees a tensor that is not among the outputs. */
  release(...tensors: TensorInfo[]): void;
  /** Runs a C kernel by name. Sizes must have been checked: the kernel trusts them.
   *  @throws Error when memory has run out. */
  call(kernel: string, ...values: KernelArgument[]): void;
  /** Copies what a kernel of tfjs answered with if it is only a view of its input's memory. */
  keepApart(outputs: TensorInfo | TensorInfo[]): void;
}

/** The backends that run C kernels. */
export const KERNEL_BACKENDS = ['native', 'wasm'] as const;

type Inputs = Record<string, TensorInfo>;
export type FastKernel<A> = (memory: KernelMemory, inputs: Inputs, attributes: A) => TensorInfo[];
/** Answers null for what it does not handle: other types, shapes to be broadcast. */
export type PartialKernel<A> = (
  memory: KernelMemory,
  inputs: Inputs,
  attributes: A,
) => TensorInfo | TensorInfo[] | null;

/** Registers the fast form of an operation for all backends with C kernels. Once, at the top level of its file. */
export function registerFast<A>(kernelName: string, kernel: FastKernel<A>): void {
  register<A>(kernelName, kernel);
}

/** Takes the place of a kernel of tfjs where `kernel` handles the call; elsewhere tfjs's own, of its cpu backend, runs. */
export function registerOver<A>(kernelName: string, kernel: PartialKernel<A>): void {
  const tfjs = borrowed(kernelName);
  register<A>(
    kernelName,
    (memory, inputs, attributes) => kernel(memory, inputs, attributes) ?? tfjs(memory, inputs, attributes),
  );
}

/** Lets backends with C kernels run every kernel of tfjs's cpu backend that has not been registered by us. */
export function borrowTheRest(): void {
  for (const { kernelName } of tf.getKernelsForBackend('cpu')) {
    if (!tf.getKernel(kernelName, KERNEL_BACKENDS[0])) register(kernelName, borrowed(kernelName));
  }
}

type Run<A> = (memory: KernelMemory, inputs: Inputs, attributes: A) => TensorInfo | TensorInfo[];

function borrowed(kernelName: string): Run<unknown> {
  const { kernelFunc } = tf.getKernel(kernelName, 'cpu');
  return (memory, inputs, attrs) => {
    const made = kernelFunc({ inputs, attrs: attrs as Record<string, never>, backend: memory });
    memory.keepApart(made);
    return made;
  };
}

function register<A>(kernelName: string, run: Run<A>): void {
  for (const backendName of KERNEL_BACKENDS) {
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) =>
        run(backend as unknown as KernelMemory, inputs as Inputs, attrs as unknown as A),
    });
  }
}
