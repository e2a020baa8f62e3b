// Host kernels: loops over typed arrays, written once and registered for every backend whose memory the host can
// address. cpu keeps each tensor in a typed array; wasm keeps all of them in one heap that typed arrays can view.

import type { TensorInfo } from './tf.ts';
import { tf } from './tf.ts';

/** What a host kernel works on: views of the inputs and outputs, and their shapes. Views die with the call. */
export interface HostCall<A> {
  inputs: Record<string, Float32Array>;
  shapes: Record<string, number[]>;
  outputs: Float32Array[];
  attributes: A;
}

/** A kernel on host memory. Outputs are not cleared: `run` writes every element. */
export interface HostKernel<A> {
  name: string;
  /** Shapes of the fp32 outputs. */
  outputs(shapes: Record<string, number[]>, attributes: A): number[][];
  run(call: HostCall<A>): void;
}

interface HostBackend {
  name: string;
  allocate(backend: object, shape: number[]): TensorInfo;
  view(backend: object, tensor: TensorInfo): Float32Array;
}

interface CpuMemory {
  makeTensorInfo(shape: number[], dtype: 'float32', values: Float32Array): TensorInfo;
  data: { get(id: object): { values: Float32Array } };
}
interface WasmMemory {
  makeOutput(shape: number[], dtype: 'float32'): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array;
  incRef(id: object): void;
}

const sizeOf = (shape: number[]): number => shape.reduce((product, n) => product * n, 1);

const HOST_BACKENDS: HostBackend[] = [
  {
    name: 'cpu',
    allocate: (backend, shape) =>
      (backend as CpuMemory).makeTensorInfo(shape, 'float32', new Float32Array(sizeOf(shape))),
    view: (backend, tensor) => (backend as CpuMemory).data.get(tensor.dataId).values,
  },
  {
    name: 'wasm',
    allocate: (backend, shape) => (backend as WasmMemory).makeOutput(shape, 'float32'),
    view: (backend, tensor) => (backend as WasmMemory).typedArrayFromHeap(tensor),
  },
];

/** Registers a host kernel for all host-addressable backends. Call it once, at the top level of the kernel's file. */
export function registerHostKernel<A>(kernel: HostKernel<A>): void {
  for (const host of HOST_BACKENDS) {
    if (tf.getKernel(kernel.name, host.name)) continue;
    tf.registerKernel({
      kernelName: kernel.name,
      backendName: host.name,
      kernelFunc: ({ inputs, attrs, backend }) => {
        const entries = Object.entries(inputs) as [string, TensorInfo][];
        const shapes = Object.fromEntries(entries.map(([name, tensor]) => [name, tensor.shape]));
        const attributes = attrs as unknown as A;
        // All memory first, all views after: the wasm heap may move when it grows.
        const outputs = kernel.outputs(shapes, attributes).map(shape => host.allocate(backend, shape));
        kernel.run({
          inputs: Object.fromEntries(entries.map(([name, tensor]) => [name, host.view(backend, tensor)])),
          shapes,
          outputs: outputs.map(tensor => host.view(backend, tensor)),
          attributes,
        });
        return outputs;
      },
    });
  }
}

/** Makes tfjs's Identity on wasm share memory by reference count instead of copying: saving a tensor for the gradient
 *  goes through it. Safe as no kernel of ours or of tfjs writes into an existing tensor. */
export function shareIdentity(): void {
  tf.unregisterKernel('Identity', 'wasm');
  tf.registerKernel({
    kernelName: 'Identity',
    backendName: 'wasm',
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x as TensorInfo;
      (backend as WasmMemory).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
}
