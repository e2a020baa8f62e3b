// One number in every element of a tensor.
import type { TensorInfo } from '../tf.ts';
import { tf } from '../tf.ts';
import type { Gpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';

const fillWords = {
  name: 'fill',
  code: /* wgsl */ `
struct Parameters { size: u32, value: i32 }
@group(0) @binding(0) var<storage, read_write> words: array<i32>;
@group(0) @binding(1) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 256 + lane;
  if (i < parameters.size) { words[i] = parameters.value; }
}`,
};

/** Writes an integer into every element of an int32 tensor; 0 also serves fp32. */
export function fill(gpu: Gpu, tensor: TensorInfo, value: number): void {
  const size = tf.util.sizeFromShape(tensor.shape);
  gpu.run(fillWords, [tensor], { size, value }, Math.ceil(size / 256));
}
