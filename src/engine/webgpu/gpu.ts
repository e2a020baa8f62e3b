// What a WGSL operation may do: make tensors on the GPU and run kernels on them, in the command stream of tfjs's own kernels.
// Reaches into tfjs-backend-webgpu 4.22.0 (tensorMap, bufferManager, the open encoder), whose version is pinned.

import type { Integers } from '../integers.ts';
import { type TensorInfo, tf } from '../tf.ts';
import { type Interface, interfaceOf, type Program, packParameters } from './program.ts';

export interface TensorData {
  /** What was last read, kept on the host. */
  values: unknown;
  resource?: GPUBuffer | null;
  /** How often a kernel has changed it. */
  writes?: number;
}

/** The part of tfjs's WebGPUBackend that is used here. */
export interface TfjsBackend {
  device: GPUDevice;
  queue: GPUQueue;
  tensorMap: { get(dataId: object): TensorData };
  bufferManager: { acquireBuffer(size: number, usage: number): GPUBuffer };
  commandQueueOwnedIds: WeakSet<object>;
  uniformPendingDisposal: GPUBuffer[];
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  makeTensorInfo(shape: number[], dtype: string, values?: unknown): TensorInfo;
  uploadToGPU(dataId: object): void;
  disposeData(dataId: object): boolean;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** How often a kernel's main runs: a number of workgroups, in up to three dimensions, or three numbers that an earlier kernel
 *  wrote into a tensor of `allocateIndirect`, from that place on. */
export type Workgroups = number | readonly [number, number, number] | { counts: TensorInfo; at: number };

interface Compiled extends Interface {
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
}

/** Commands that wait before they are handed to the GPU: enough to keep it busy, few enough to give memory back. */
const SUBMIT_EVERY = 32;
/** WebGPU's portable limit on workgroups in a dimension. */
export const MOST_WORKGROUPS = 65535;

export class Gpu {
  readonly backend: TfjsBackend;
  /** How products of a forward pass multiply, where the device has shader-f16. f32 unless somebody asks. */
  precision: 'f32' | 'f16' = 'f32';
  private readonly compiled = new Map<string, Compiled>();
  /** As `compiled`, by the value itself: the source is too long to be looked up at each run. */
  private readonly known = new WeakMap<Program, Compiled>();
  /** What empty tensors are bound to, one for each place: a buffer that is written may not be bound twice. */
  private readonly nothing: GPUBuffer[] = [];

  constructor(backend: TfjsBackend) {
    this.backend = backend;
  }

  get device(): GPUDevice {
    return this.backend.device;
  }

  /** A new tensor, not cleared. */
  allocate(shape: number[], dtype: 'float32' | 'int32' = 'float32'): TensorInfo {
    const tensor = this.backend.makeTensorInfo(shape, dtype);
    if (tf.util.sizeFromShape(shape) > 0) this.backend.uploadToGPU(tensor.dataId);
    else this.backend.tensorMap.get(tensor.dataId).values = tf.util.getTypedArrayFromDType(dtype, 0);
    return tensor;
  }

  /** A new int32 tensor that may hold numbers of workgroups. */
  allocateIndirect(size: number): TensorInfo {
    const tensor = this.backend.makeTensorInfo([size], 'int32');
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.INDIRECT | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    this.backend.tensorMap.get(tensor.dataId).resource = this.backend.bufferManager.acquireBuffer(4 * size, usage);
    return tensor;
  }

  /** Integers as a tensor on the GPU. What was on the host is a new tensor, given to `use` and released after it. */
  withIntegers<T>(integers: Integers, use: (tensor: TensorInfo) => T): T {
    if (!(integers instanceof Int32Array)) return use(integers);
    const uploaded = this.backend.makeTensorInfo([integers.length], 'int32', integers.slice());
    const result = use(uploaded);
    this.release(uploaded);
    return result;
  }

  /** Frees tensors that are not among an operation's outputs, once the kernels that use them have run. */
  release(...tensors: TensorInfo[]): void {
    for (const { dataId } of tensors) this.backend.disposeData(dataId);
  }

  /** Runs a kernel on tensors, in the order of its bindings. An empty tensor is bound to 16 bytes of nothing.
   *  @throws Error when the kernel takes other bindings or parameters. */
  run(program: Program, tensors: TensorInfo[], parameters: Record<string, number>, workgroups: Workgroups): void {
    if (Array.isArray(workgroups) ? workgroups.some(count => count === 0) : workgroups === 0) return;
    const { backend } = this;
    const { pipeline, layout, bindings, parameters: fields } = this.compile(program);
    const storage = bindings.filter(access => access !== 'uniform');
    if (storage.length !== tensors.length)
      throw new Error(`kernel ${program.name} binds ${storage.length} tensors, got ${tensors.length}`);
    const buffers = tensors.map((tensor, i) =>
      tf.util.sizeFromShape(tensor.shape) === 0 ? this.emptyAt(i) : this.bufferOf(tensor, storage[i] === 'storage'),
    );
    if (fields.length > 0) buffers.push(this.uniform(packParameters(program, fields, parameters)));
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = backend.device.createBindGroup({ layout, entries, label: program.name });
    const indirect = typeof workgroups === 'object' && 'counts' in workgroups ? workgroups : null;
    if (indirect) backend.commandQueueOwnedIds.add(indirect.counts.dataId);
    const pass = this.pass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    if (indirect) pass.dispatchWorkgroupsIndirect(this.bufferOf(indirect.counts, false), 4 * indirect.at);
    else pass.dispatchWorkgroups(...spread(workgroups as number | [number, number, number]));
    backend.dispatchCountInPass++;
    if (backend.dispatchCountInPass >= SUBMIT_EVERY) this.submit();
  }

  /** Hands all that was asked for to the GPU. */
  submit(): void {
    this.backend.endComputePassEncoder();
    if (this.backend.commandEncoder) this.backend.submitQueue();
  }

  /** When all that was asked for has run. */
  async finished(): Promise<void> {
    this.submit();
    await this.backend.queue.onSubmittedWorkDone();
  }

  private pass(): GPUComputePassEncoder {
    this.backend.ensureCommandEncoderReady();
    this.backend.computePassEncoder ??= this.backend.commandEncoder!.beginComputePass();
    return this.backend.computePassEncoder;
  }

  private emptyAt(place: number): GPUBuffer {
    this.nothing[place] ??= this.device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
    return this.nothing[place];
  }

  private bufferOf({ dataId }: TensorInfo, written: boolean): GPUBuffer {
    this.backend.uploadToGPU(dataId);
    this.backend.commandQueueOwnedIds.add(dataId);
    const data = this.backend.tensorMap.get(dataId);
    if (written) {
      data.values = null; // else a read would answer with what was there before
      data.writes = (data.writes ?? 0) + 1;
    }
    return data.resource!;
  }

  private uniform(bytes: ArrayBuffer): GPUBuffer {
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM;
    const buffer = this.backend.bufferManager.acquireBuffer(bytes.byteLength, usage);
    this.backend.queue.writeBuffer(buffer, 0, bytes);
    this.backend.uniformPendingDisposal.push(buffer);
    return buffer;
  }

  private compile(program: Program): Compiled {
    const known = this.known.get(program);
    if (known) return known;
    const key = program.code + JSON.stringify(program.constants ?? {});
    const made = this.compiled.get(key) ?? this.make(program);
    this.compiled.set(key, made);
    this.known.set(program, made);
    return made;
  }

  private make(program: Program): Compiled {
    const { device } = this;
    const own = interfaceOf(program);
    const entries = own.bindings.map((type, binding) => {
      return { binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } };
    });
    const layout = device.createBindGroupLayout({ entries, label: program.name });
    const pipeline = device.createComputePipeline({
      label: program.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: device.createShaderModule({ code: program.code, label: program.name }),
        entryPoint: 'main',
        constants: program.constants,
      },
    });
    return { ...own, pipeline, layout };
  }
}

/** A number of workgroups as a grid within WebGPU's limit, x first; kernels number them by `id.x + id.y * count.x` and leave out
 *  those beyond their last. */
function spread(workgroups: number | readonly [number, number, number]): [number, number, number] {
  if (typeof workgroups !== 'number') return [...workgroups];
  if (workgroups <= MOST_WORKGROUPS) return [workgroups, 1, 1];
  const y = Math.ceil(workgroups / MOST_WORKGROUPS);
  return [Math.ceil(workgroups / y), y, 1];
}

type Inputs = Record<string, TensorInfo>;
export type GpuKernel<A> = (gpu: Gpu, inputs: Inputs, attributes: A) => TensorInfo[];

const gpus = new WeakMap<object, Gpu>();

/** The kernels' side of the running tfjs backend `webgpu`. */
export function gpuOf(backend: object): Gpu {
  const gpu = gpus.get(backend) ?? new Gpu(backend as TfjsBackend);
  gpus.set(backend, gpu);
  return gpu;
}

/** Registers the WGSL form of an operation. Once, at the top level of its file. */
export function registerGpu<A>(kernelName: string, kernel: GpuKernel<A>): void {
  tf.registerKernel({
    kernelName,
    backendName: 'webgpu',
    kernelFunc: ({ inputs, attrs, backend }) => kernel(gpuOf(backend), inputs as Inputs, attrs as unknown as A),
  });
}
