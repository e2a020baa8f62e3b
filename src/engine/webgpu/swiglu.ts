// SwiGLU gate in WGSL. y = g σ(g) ⊙ u; du = dy ⊙ g σ(g); dg = dy ⊙ u ⊙ σ(g) (1 + g (1 − σ(g))).
// Kernels MoeSwiglu: { gate, up } -> y; MoeSwigluGrad: { gate, up, gradient } -> dg, du.

import { type TensorInfo, tf } from '../tf.ts';
import { type Gpu, registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import { inBoth, perValue, VALUE } from './values.ts';

/** `sigmoid(g)` of a Value, without infinities on the way. */
export const SIGMOID = /* wgsl */ `
fn sigmoid(g: Value) -> Value {
  let e = exp(-abs(g));
  return select(e, Value(1), g >= Value()) / (1 + e);
}`;

const forward = inBoth(per => ({
  name: 'swiglu',
  code: /* wgsl */ `
struct Parameters { size: u32 }
@group(0) @binding(0) var<storage, read> gate: array<Value>;
@group(0) @binding(1) var<storage, read> up: array<Value>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
${SIGMOID}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64 + lane;
  if (i >= parameters.size) { return; }
  y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}`,
}));

const gradient = inBoth(per => ({
  name: 'swiglu, gradient',
  code: /* wgsl */ `
struct Parameters { size: u32 }
@group(0) @binding(0) var<storage, read> gate: array<Value>;
@group(0) @binding(1) var<storage, read> up: array<Value>;
@group(0) @binding(2) var<storage, read> dy: array<Value>;
@group(0) @binding(3) var<storage, read_write> dgate: array<Value>;
@group(0) @binding(4) var<storage, read_write> dup: array<Value>;
@group(0) @binding(5) var<storage, read_write> y: array<Value>;
@group(0) @binding(6) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
${SIGMOID}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64 + lane;
  if (i >= parameters.size) { return; }
  let sigma = sigmoid(gate[i]);
  let silu = gate[i] * sigma;
  dgate[i] = dy[i] * up[i] * (sigma * (1 + gate[i] * (1 - sigma)));
  dup[i] = dy[i] * silu;
  y[i] = silu * up[i];
}`,
}));

/** silu(gate) ⊙ up. */
export function swiglu(gpu: Gpu, gate: TensorInfo, up: TensorInfo): TensorInfo {
  const y = gpu.allocate(gate.shape);
  const size = tf.util.sizeFromShape(gate.shape);
  const per = perValue(size);
  gpu.run(forward[per], [gate, up, y], { size: size / per }, Math.ceil(size / per / 64));
  return y;
}

/** Gradients of gate and up, and the value once more, for products that need it. */
export function swigluGradient(gpu: Gpu, gate: TensorInfo, up: TensorInfo, dy: TensorInfo) {
  const [dgate, dup, y] = [0, 1, 2].map(() => gpu.allocate(gate.shape));
  const size = tf.util.sizeFromShape(gate.shape);
  const per = perValue(size);
  const tensors = [gate, up, dy, dgate, dup, y];
  gpu.run(gradient[per], tensors, { size: size / per }, Math.ceil(size / per / 64));
  return { dgate, dup, y };
}

registerGpu('MoeSwiglu', (gpu, { gate, up }) => [swiglu(gpu, gate, up)]);

registerGpu('MoeSwigluGrad', (gpu, { gate, up, gradient: dy }) => {
  const { dgate, dup, y } = swigluGradient(gpu, gate, up, dy);
  gpu.release(y);
  return [dgate, dup];
});
