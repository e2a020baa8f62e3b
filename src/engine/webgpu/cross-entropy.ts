// Cross-entropy in WGSL, as fast/cross-entropy.ts has it. With top = max_v l and share = 1 / Σ_v e^(l − top):
// loss = top − l[label] − ln share, a workgroup per token, which reads the vocabulary once: each invocation keeps the largest
// logit so far and its sum (Milakov and Gimelshein 2018), and a tree joins them. dlogits = dy (e^(l − top) share − onehot).
// A label outside of the vocabulary, as −100 is, has loss 0 and gradient 0.

import type { CrossEntropyAttributes } from '../fast/cross-entropy.ts';
import { registerGpu } from './gpu.ts';
import { rowLargest, rowSum, WORKGROUP_INDEX } from './parts.ts';
import { inBoth, perValue, VALUE } from './values.ts';

const forward = inBoth(per => ({
  name: 'cross-entropy',
  code: /* wgsl */ `
struct Parameters { tokens: u32, width: u32 }
@group(0) @binding(0) var<storage, read> logits: array<Value>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> normalisers: array<vec2<f32>>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
const LOWEST = -3.4028234663852886e38f;
${VALUE[per]}
${WORKGROUP_INDEX}
${rowLargest(256)}
${rowSum(256)}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let token = workgroup_index(id, count);
  if (token >= parameters.tokens) { return; }
  let label = u32(labels[token]); // a negative one is beyond every vocabulary
  if (label >= parameters.width * PER_VALUE) {
    if (lane == 0) {
      losses[token] = 0;
      normalisers[token] = vec2<f32>(0, 1);
    }
    return;
  }
  let start = token * parameters.width;
  var top = LOWEST;
  var sum = Value();
  for (var first = lane; first < parameters.width; first += 4 * 256) { // four at once: fewer changes of the largest
    let end = min(first + 4 * 256, parameters.width);
    var high = top;
    for (var v = first; v < end; v += 256) { high = max(high, largest(logits[start + v])); }
    sum *= exp(top - high);
    top = high;
    for (var v = first; v < end; v += 256) { sum += exp(logits[start + v] - top); }
  }
  let highest = row_largest(top, lane);
  let all = row_sum(total(sum) * exp(top - highest), lane);
  if (lane == 0) {
    losses[token] = log(all) + (highest - number_of(logits[start + label / PER_VALUE], label % PER_VALUE));
    normalisers[token] = vec2<f32>(highest, 1 / all);
  }
}`,
}));

/** Values of the vocabulary that a workgroup of the gradient writes. */
const WIDTH_PER_WORKGROUP = 1024;

const backward = inBoth(per => ({
  name: 'cross-entropy, gradient',
  code: /* wgsl */ `
struct Parameters { tokens: u32, width: u32, workgroups_per_token: u32 }
@group(0) @binding(0) var<storage, read> logits: array<Value>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read> normalisers: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<Value>;
@group(0) @binding(5) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroup_index(id, count);
  let token = index / parameters.workgroups_per_token;
  if (token >= parameters.tokens) { return; }
  let first = index % parameters.workgroups_per_token * ${WIDTH_PER_WORKGROUP};
  let end = min(first + ${WIDTH_PER_WORKGROUP}, parameters.width);
  let start = token * parameters.width;
  let label = u32(labels[token]);
  let counts = label < parameters.width * PER_VALUE;
  let top = normalisers[token].x;
  let factor = dy[token] * normalisers[token].y;
  for (var v = first + lane; v < end; v += 256) {
    var value = Value();
    if (counts) {
      value = exp(logits[start + v] - top) * factor;
      if (v == label / PER_VALUE) { value -= single(label % PER_VALUE, dy[token]); }
    }
    dlogits[start + v] = value;
  }
}`,
}));

registerGpu<CrossEntropyAttributes>('MoeCrossEntropy', (gpu, { logits }, { label_T }) => {
  const [tokens, vocabulary] = logits.shape;
  const per = perValue(vocabulary);
  const [loss, normaliser] = [gpu.allocate([tokens]), gpu.allocate([tokens, 2])];
  gpu.withIntegers(label_T, labels => {
    gpu.run(forward[per], [logits, labels, loss, normaliser], { tokens, width: vocabulary / per }, tokens);
  });
  return [loss, normaliser];
});

registerGpu<CrossEntropyAttributes>('MoeCrossEntropyGrad', (gpu, { logits, normaliser, gradient }, { label_T }) => {
  const [tokens, vocabulary] = logits.shape;
  const per = perValue(vocabulary);
  const width = vocabulary / per;
  const dlogits = gpu.allocate(logits.shape);
  const workgroupsPerToken = Math.ceil(width / WIDTH_PER_WORKGROUP);
  gpu.withIntegers(label_T, labels => {
    const sizes = { tokens, width, workgroups_per_token: workgroupsPerToken };
    gpu.run(backward[per], [logits, labels, normaliser, gradient, dlogits], sizes, tokens * workgroupsPerToken);
  });
  return [dlogits];
});
