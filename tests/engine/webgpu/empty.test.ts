// Empty tensors in several places of one kernel, read and written: none of them is bound twice.
import { expect, it } from 'vitest';
import { tf } from '../../../src/engine/tf.ts';
import { gpuOf } from '../../../src/engine/webgpu/gpu.ts';
import { use, webgpuHere } from '../backends.ts';

it.runIf(webgpuHere.works)('a kernel runs on what is empty, and writes the rest', async () => {
  await use('webgpu');
  const gpu = gpuOf(tf.backend());
  const [none, some] = [tf.zeros([0]), tf.zeros([1])];
  const empty = [gpu.allocate([0, 3]), gpu.allocate([3, 0])];
  gpu.run(PROGRAM, [none, none, some, ...empty], { length: 0 }, 1);
  expect([...(await some.data())]).toEqual([1]);
  gpu.release(...empty);
  tf.dispose([none, some]);
});

const PROGRAM = {
  name: 'on nothing',
  code: /* wgsl */ `
struct Parameters { length: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<storage, read_write> d: array<f32>;
@group(0) @binding(5) var<uniform> parameters: Parameters;
@compute @workgroup_size(1)
fn main() {
  sum[0] = 1;
  for (var i = 0u; i < parameters.length; i++) {
    c[i] = a[i];
    d[i] = b[i];
  }
}`,
};
