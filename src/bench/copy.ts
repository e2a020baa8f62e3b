// A plain copy on the running backend, to compare other movement with: as many bytes as it reads it writes.
// webgpu: copyBufferToBuffer. native, wasm: within the kernels' memory, TypedArray.set on one thread or x + 0 on all of them,
// whichever is faster. Elsewhere: x + 0.
import type { KernelMemory } from '../engine/memory.ts';
import { tf } from '../engine/tf.ts';
import { gpuOf } from '../engine/webgpu/gpu.ts';
import { type Times, taken, timesOf, type Work } from './stopwatch.ts';
import { IMMEDIATE, type Repeats } from './timing.ts';

/** Times of copying `floats` numbers of fp32, from `sets` sources in turn. */
export async function timesOfCopy(floats: number, sets: number, repeats: Repeats, limit: number): Promise<Times> {
  if (tf.getBackend() === 'webgpu') return copyOnGpu(floats, sets, repeats, limit);
  const memory = tf.backend() as unknown as KernelMemory;
  if (IMMEDIATE.includes(tf.getBackend()) && tf.getBackend() !== 'cpu')
    return copyWithin(memory, floats, repeats, limit);
  const from = tf.ones([floats]);
  const times = await timesOf(() => [tf.add(from, 0)], repeats, limit);
  from.dispose();
  return times;
}

async function copyWithin(memory: KernelMemory, floats: number, repeats: Repeats, limit: number): Promise<Times> {
  const tensors = [[floats], [floats], [1]].map(shape => memory.allocate(shape));
  const [from, to, zero] = tensors.map(tensor => memory.view(tensor).fill(0));
  const ways: Work[] = [
    () => {
      to.set(from);
      return [];
    },
    () => {
      memory.call('add', from, zero, to, 1, floats, 0, 1, 0, 0);
      return [];
    },
  ];
  const times: Times[] = [];
  for (const way of ways) times.push(await timesOf(way, repeats, limit));
  memory.release(...tensors);
  return times.sort((one, other) => taken(one) - taken(other))[0];
}

async function copyOnGpu(floats: number, sets: number, repeats: Repeats, limit: number): Promise<Times> {
  const gpu = gpuOf(tf.backend());
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffers = Array.from({ length: 2 * sets }, () => gpu.device.createBuffer({ size: 4 * floats, usage }));
  const copy: Work = run => {
    const [from, to] = [buffers[2 * (run % sets)], buffers[2 * (run % sets) + 1]];
    gpu.backend.endComputePassEncoder();
    gpu.backend.ensureCommandEncoderReady();
    gpu.backend.commandEncoder!.copyBufferToBuffer(from, 0, to, 0, 4 * floats);
    return [];
  };
  const times = await timesOf(copy, repeats, limit);
  for (const buffer of buffers) buffer.destroy();
  return times;
}
