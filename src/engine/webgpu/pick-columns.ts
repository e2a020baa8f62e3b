// Picked columns in WGSL. y[t, j] = x[t, index[t, j]], 0 at −1; dx[t, e] = Σ_j dy[t, j] over the j with index e, in their order.
// An invocation per number that is written.

import { countOf, type Integers } from '../integers.ts';
import { fill } from './fill.ts';
import { registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';

interface PickAttributes {
  index_TK: Integers;
}

const pick = {
  name: 'pick columns',
  code: /* wgsl */ `
struct Parameters { size: u32, picks: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64 + lane;
  if (i >= parameters.size) { return; }
  let column = u32(index[i]);
  var picked = 0.0;
  if (column < parameters.width) { picked = x[i / parameters.picks * parameters.width + column]; }
  y[i] = picked;
}`,
};

const giveBack = {
  name: 'pick columns, gradient',
  code: /* wgsl */ `
struct Parameters { size: u32, picks: u32, width: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64 + lane;
  if (i >= parameters.size) { return; }
  let first = i / parameters.width * parameters.picks;
  let column = i32(i % parameters.width);
  var sum = 0.0;
  for (var slot = first; slot < first + parameters.picks; slot++) {
    if (index[slot] == column) { sum += dy[slot]; }
  }
  dx[i] = sum;
}`,
};

registerGpu<PickAttributes>('MoePickColumns', (gpu, { x }, { index_TK }) => {
  const [rows, width] = x.shape;
  const picks = rows === 0 ? 0 : countOf(index_TK) / rows;
  const y = gpu.allocate([rows, picks]);
  const size = rows * picks;
  gpu.withIntegers(index_TK, index => gpu.run(pick, [x, index, y], { size, picks, width }, Math.ceil(size / 64)));
  return [y];
});

registerGpu<PickAttributes & { width: number }>('MoePickColumnsGrad', (gpu, { gradient }, { index_TK, width }) => {
  const [rows, picks] = gradient.shape;
  const dx = gpu.allocate([rows, width]);
  if (picks === 0) {
    fill(gpu, dx, 0);
    return [dx];
  }
  const size = rows * width;
  gpu.withIntegers(index_TK, index => {
    gpu.run(giveBack, [gradient, index, dx], { size, picks, width }, Math.ceil(size / 64));
  });
  return [dx];
});
