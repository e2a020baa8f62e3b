// The last step of sums over rows: parts_BD [B, D] → Σ_b [D], an invocation per column, in rising order of b.

import type { TensorInfo } from '../tf.ts';
import type { Gpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import { inBoth, perValue, VALUE } from './values.ts';

const program = inBoth(per => ({
  name: 'sum of rows',
  code: /* wgsl */ `
struct Parameters { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> parts: array<Value>;
@group(0) @binding(1) var<storage, read_write> sums: array<Value>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let d = workgroup_index(id, count) * 64 + lane;
  if (d >= parameters.width) { return; }
  var sum = Value();
  for (var row = 0u; row < parameters.rows; row++) { sum += parts[row * parameters.width + d]; }
  sums[d] = sum;
}`,
}));

/** A new tensor with the sum of each column; zeros when there are no rows. */
export function sumRows(gpu: Gpu, parts_BD: TensorInfo): TensorInfo {
  const [rows, columns] = parts_BD.shape;
  const per = perValue(columns);
  const sums_D = gpu.allocate([columns]);
  gpu.run(program[per], [parts_BD, sums_D], { rows, width: columns / per }, Math.ceil(columns / per / 64));
  return sums_D;
}
