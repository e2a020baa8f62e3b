// RMSNorm in WGSL. y = w ⊙ x r with r = 1 / √(mean(x²) + ε), a workgroup per row.
// dx = r (w ⊙ dy) − x r³ / D · Σ_d w dy x, a workgroup per row; dw = Σ_t dy ⊙ x r, an invocation per column and block of rows,
// then one sum over the blocks: each sum has one order.

import type { RmsNormAttributes } from '../fast/rms-norm.ts';
import { registerGpu } from './gpu.ts';
import { rowSum, WORKGROUP_INDEX } from './parts.ts';
import { sumRows } from './sum-rows.ts';
import { inBoth, perValue, VALUE } from './values.ts';

const forward = inBoth(per => ({
  name: 'rms norm',
  code: /* wgsl */ `
struct Parameters { rows: u32, width: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> weight: array<Value>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
${rowSum(64)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroup_index(id, count);
  if (row >= parameters.rows) { return; }
  let start = row * parameters.width;
  var squares = Value();
  for (var d = lane; d < parameters.width; d += 64) { squares += x[start + d] * x[start + d]; }
  let columns = f32(parameters.width * PER_VALUE);
  let scale = inverseSqrt(row_sum(total(squares), lane) / columns + parameters.epsilon);
  for (var d = lane; d < parameters.width; d += 64) { y[start + d] = weight[d] * (x[start + d] * scale); }
}`,
}));

const inputGradient = inBoth(per => ({
  name: 'rms norm, gradient of the input',
  code: /* wgsl */ `
struct Parameters { rows: u32, width: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> weight: array<Value>;
@group(0) @binding(2) var<storage, read> dy: array<Value>;
@group(0) @binding(3) var<storage, read_write> dx: array<Value>;
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;
@group(0) @binding(5) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
${rowSum(64)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroup_index(id, count);
  if (row >= parameters.rows) { return; }
  let start = row * parameters.width;
  var squares = Value();
  var projection = Value();
  for (var d = lane; d < parameters.width; d += 64) {
    let value = x[start + d];
    squares += value * value;
    projection += weight[d] * dy[start + d] * value;
  }
  let columns = f32(parameters.width * PER_VALUE);
  let scale = inverseSqrt(row_sum(total(squares), lane) / columns + parameters.epsilon);
  let pull = row_sum(total(projection), lane) * scale * scale * scale / columns;
  if (lane == 0) { scales[row] = scale; }
  for (var d = lane; d < parameters.width; d += 64) {
    dx[start + d] = weight[d] * (dy[start + d] * scale) - x[start + d] * pull;
  }
}`,
}));

const weightGradient = inBoth(per => ({
  name: 'rms norm, gradient of the weight by blocks of rows',
  code: /* wgsl */ `
struct Parameters { rows: u32, width: u32, rows_per_block: u32, blocks: u32, workgroups_per_block: u32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> dy: array<Value>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<Value>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroup_index(id, count);
  let block = index / parameters.workgroups_per_block;
  let d = index % parameters.workgroups_per_block * 64 + lane;
  if (block >= parameters.blocks || d >= parameters.width) { return; }
  let first = block * parameters.rows_per_block;
  let end = min(first + parameters.rows_per_block, parameters.rows);
  var sum = Value();
  for (var row = first; row < end; row++) {
    let at = row * parameters.width + d;
    sum += dy[at] * x[at] * scales[row];
  }
  parts[block * parameters.width + d] = sum;
}`,
}));

registerGpu<RmsNormAttributes>('MoeRmsNorm', (gpu, { x, weight }, { epsilon }) => {
  const [rows, columns] = x.shape;
  const per = perValue(columns);
  const y = gpu.allocate(x.shape);
  gpu.run(forward[per], [x, weight, y], { rows, width: columns / per, epsilon }, rows);
  return [y];
});

registerGpu<RmsNormAttributes>('MoeRmsNormGrad', (gpu, { x, weight, gradient }, { epsilon }) => {
  const [rows, columns] = x.shape;
  const per = perValue(columns);
  const width = columns / per;
  const [dx, scales] = [gpu.allocate(x.shape), gpu.allocate([rows])];
  gpu.run(inputGradient[per], [x, weight, gradient, dx, scales], { rows, width, epsilon }, rows);
  const rowsPerBlock = Math.max(16, Math.ceil(Math.sqrt(rows))); // about as many rows in a block as blocks
  const blocks = Math.ceil(rows / rowsPerBlock);
  const workgroupsPerBlock = Math.ceil(width / 64);
  const parts = gpu.allocate([blocks, columns]);
  const sizes = { rows, width, rows_per_block: rowsPerBlock, blocks, workgroups_per_block: workgroupsPerBlock };
  gpu.run(weightGradient[per], [x, gradient, scales, parts], sizes, blocks * workgroupsPerBlock);
  const dw = sumRows(gpu, parts);
  gpu.release(scales, parts);
  return [dx, dw];
});
