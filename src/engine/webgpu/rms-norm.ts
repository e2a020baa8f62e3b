// RMSNorm in WGSL. y = w ⊙ x r with r = 1 / √(mean(x²) + ε), a workgroup per row.
// dx = r (w ⊙ dy) − x r³ / D · Σ_d w dy x, a workgroup per row; dw = Σ_t dy ⊙ x r, an invocation per column and block of rows,
// then one sum over the blocks: each sum has one order.

import type { RmsNormAttributes } from '../fast/rms-norm.ts';
import { registerGpu } from './gpu.ts';
import { rowSum, WORKGROUP_INDEX } from './parts.ts';

const forward = {
  name: 'rms norm',
  code: /* wgsl */ `
struct Parameters { rows: u32, width: u32, epsilon: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${rowSum(64)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroup_index(id, count);
  let start = row * parameters.width;
  var squares = 0.0;
  if (row < parameters.rows) {
    for (var d = lane; d < parameters.width; d += 64) { squares += x[start + d] * x[start + d]; }
  }
  let scale = inverseSqrt(row_sum(squares, lane) / f32(parameters.width) + parameters.epsilon);
  if (row >= parameters.rows) { return; }
  for (var d = lane; d < parameters.width; d += 64) { y[start + d] = weight[d] * (x[start + d] * scale); }
}`,
};

registerGpu<RmsNormAttributes>('MoeRmsNorm', (gpu, { x, weight }, { epsilon }) => {
  const [rows, width] = x.shape;
  const y = gpu.allocate(x.shape);
  gpu.run(forward, [x, weight, y], { rows, width, epsilon }, rows);
  return [y];
});
