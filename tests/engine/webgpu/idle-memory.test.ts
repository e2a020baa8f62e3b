// Tensors of ever new sizes: what they leave behind does not pile up on the GPU, and results stay right while it is given back.
import { expect, it } from 'vitest';
import { tf } from '../../../src/engine/tf.ts';
import { gpuOf } from '../../../src/engine/webgpu/gpu.ts';
import type { BufferManager } from '../../../src/engine/webgpu/idle-memory.ts';
import { use, webgpuHere } from '../backends.ts';

const MEBIBYTE = 2 ** 20;

it.runIf(webgpuHere.works)('memory of tensors that are gone goes back where no size comes again', async () => {
  await use('webgpu');
  const gpu = gpuOf(tf.backend());
  const manager = gpu.backend.bufferManager as unknown as BufferManager;
  const sum = tf.zeros([1]);
  let most = 0;
  for (let step = 1; step <= 100; step++) {
    const passing = gpu.allocate([2 * MEBIBYTE + step]); // 8 MiB and some: 800 MiB in all
    gpu.run(COUNT, [sum, passing], {}, 1);
    gpu.release(passing);
    gpu.submit();
    most = Math.max(most, manager.numBytesAllocated);
  }
  expect([...(await sum.data())]).toEqual([100]);
  sum.dispose();
  expect(most / MEBIBYTE).toBeGreaterThan(200);
  expect(most / MEBIBYTE).toBeLessThan(300);
});

it.runIf(webgpuHere.works)('memory that is used again and again stays', async () => {
  await use('webgpu');
  const gpu = gpuOf(tf.backend());
  const manager = gpu.backend.bufferManager as unknown as BufferManager;
  const once = (): void => {
    const tensors = Array.from({ length: 50 }, (_, i) => gpu.allocate([2 * MEBIBYTE + i]));
    gpu.run(COUNT, [tensors[0], tensors[1]], {}, 1);
    gpu.submit();
    gpu.release(...tensors);
  };
  once();
  const held = manager.numBytesAllocated;
  for (let step = 0; step < 5; step++) once();
  await gpu.finished();
  expect(manager.numBytesAllocated).toBe(held);
  expect(held / MEBIBYTE).toBeGreaterThan(400);
});

const COUNT = {
  name: 'count',
  code: /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> sum: array<f32>;
@group(0) @binding(1) var<storage, read_write> passing: array<f32>;
@compute @workgroup_size(1)
fn main() {
  sum[0] += 1;
  passing[arrayLength(&passing) - 1] = sum[0];
}`,
};
