// A plain copy on the running backend, to compare other movement with: as many bytes as it reads it writes.
// webgpu: copyBufferToBuffer. native, wasm: within the kernels' memory, TypedArray.set on one thread or x + 0 on all of them,
// whichever is faster. Elsewhere: x + 0.

import type { KernelMemory } from '../engine/memory.ts';
import { type Tensor, tf } from '../engine/tf.ts';
import { gpuOf } from '../engine/webgpu/gpu.ts';
import { type Times, taken, timesOf, type Work } from './stopwatch.ts';
import type { Repeats } from './timing.ts';

/** Times of copying `floats` numbers of fp32, from `sets` sources in turn. */
export async function timesOfCopy(floats: number, sets: number, repeats: Repeats, limit: number): Promise<Times> {
  if (tf.getBackend() === 'webgpu') return copyOnGpu(floats, sets, repeats, limit);
  const from = tf.ones([floats]);
  const added = await timesOf(() => [tf.add(from, 0)], repeats, limit);
  const memory = tf.backend() as unknown as Partial<KernelMemory>;
  const times = memory.view
    ? await fasterOf(added, timesOf(setWithin(memory as KernelMemory, from), repeats, limit))
    : added;
  from.dispose();
  return times;
}

const fasterOf = async (one: Times, other: Promise<Times>): Promise<Times> =>
  taken(one) < taken(await other) ? one : other;

function setWithin(memory: KernelMemory, from: Tensor): Work {
  return () => {
    const to = tf.engine().makeTensorFromTensorInfo(memory.allocate(from.shape));
    memory.view(to).set(memory.view(from));
    return [to];
  };
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
