// Sums of squares in WGSL: { x0 … xn−1 } → [n]. Each tensor in up to 1,024 blocks, a workgroup per block; then a workgroup per
// tensor adds its blocks up. Both sums are trees over the invocations, so 10⁸ numbers lose no digits of fp32.

import { tf } from '../tf.ts';
import { registerGpu } from './gpu.ts';
import { rowSum, WORKGROUP_INDEX } from './parts.ts';
import { inBoth, perValue, VALUE } from './values.ts';

const MOST_BLOCKS = 1024;
/** Values that are worth a workgroup. */
const LEAST_IN_BLOCK = 4096;

const blocks = inBoth(per => ({
  name: 'sums of squares by blocks',
  code: /* wgsl */ `
struct Parameters { size: u32, block: u32, blocks: u32, first_part: u32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> parts: array<f32>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
${rowSum(256)}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let block = workgroup_index(id, count);
  if (block >= parameters.blocks) { return; }
  let first = block * parameters.block;
  let end = min(first + parameters.block, parameters.size);
  var sum = Value();
  for (var i = first + lane; i < end; i += 256) { sum += x[i] * x[i]; }
  let part = row_sum(total(sum), lane);
  if (lane == 0) { parts[parameters.first_part + block] = part; }
}`,
}));

const tensors = {
  name: 'sums of squares',
  code: /* wgsl */ `
struct Parameters { tensors: u32 }
@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> ends: array<u32>; // where each tensor's parts end
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${rowSum(256)}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let tensor = workgroup_index(id, count);
  if (tensor >= parameters.tensors) { return; }
  var first = 0u;
  if (tensor > 0) { first = ends[tensor - 1]; }
  var sum = 0.0;
  for (var i = first + lane; i < ends[tensor]; i += 256) { sum += parts[i]; }
  let all = row_sum(sum, lane);
  if (lane == 0) { sums[tensor] = all; }
}`,
};

registerGpu('MoeSumsOfSquares', (gpu, inputs) => {
  const given = Object.keys(inputs).map((_, i) => inputs[`x${i}`]);
  let partCount = 0;
  const cuts = given.map(x => {
    const numbers = tf.util.sizeFromShape(x.shape);
    const per = perValue(numbers);
    const size = numbers / per;
    const block = Math.max(LEAST_IN_BLOCK, Math.ceil(size / MOST_BLOCKS));
    const count = Math.ceil(size / block);
    partCount += count;
    return { x, per, size, block, count, end: partCount };
  });
  const [parts, sums] = [gpu.allocate([partCount]), gpu.allocate([given.length])];
  for (const { x, per, size, block, count, end } of cuts)
    gpu.run(blocks[per], [x, parts], { size, block, blocks: count, first_part: end - count }, count);
  const ends = Int32Array.from(cuts, ({ end }) => end);
  gpu.withIntegers(ends, end => {
    gpu.run(tensors, [parts, end, sums], { tensors: given.length }, given.length);
  });
  gpu.release(parts);
  return [sums];
});
