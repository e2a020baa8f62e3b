// AdamW in WGSL, in place, as kernels/adamw.c has it: one pass that reads four arrays and writes three.
// g ← scale · g; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ keep − rate m / (√v · root + ε).

import { factorsOf } from '../fast/adamw.ts';
import type { AdamwSettings } from '../reference/adamw.ts';
import { tf } from '../tf.ts';
import { registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import { inBoth, perValue, VALUE } from './values.ts';

const program = inBoth(per => ({
  name: 'adamw',
  code: /* wgsl */ `
struct Parameters {
  size: u32, beta1: f32, rest1: f32, beta2: f32, rest2: f32, keep: f32, rate: f32, root: f32, epsilon: f32, scale: f32
}
@group(0) @binding(0) var<storage, read_write> theta: array<Value>;
@group(0) @binding(1) var<storage, read> gradient: array<Value>;
@group(0) @binding(2) var<storage, read_write> m: array<Value>;
@group(0) @binding(3) var<storage, read_write> v: array<Value>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
/// Subnormal numbers become 0, on every GPU.
fn flushed(x: Value) -> Value { return select(x, Value(), abs(x) < Value(0x1p-126f)); }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let at = workgroup_index(id, count) * 256 + lane;
  if (at >= parameters.size) { return; }
  let g = gradient[at] * parameters.scale;
  let mean = flushed(parameters.beta1 * m[at] + parameters.rest1 * g);
  let square = flushed(parameters.beta2 * v[at] + parameters.rest2 * (g * g));
  m[at] = mean;
  v[at] = square;
  theta[at] = theta[at] * parameters.keep - parameters.rate * mean / (sqrt(square) * parameters.root + parameters.epsilon);
}`,
}));

registerGpu<AdamwSettings>('MoeAdamw', (gpu, { parameter, gradient, m, v }, settings) => {
  const numbers = tf.util.sizeFromShape(parameter.shape);
  const per = perValue(numbers);
  const size = numbers / per;
  gpu.run(program[per], [parameter, gradient, m, v], { size, ...factorsOf(settings) }, Math.ceil(size / 256));
  return [];
});
