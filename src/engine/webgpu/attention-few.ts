// Attention of few queries in WGSL, as when a token is generated: tiles of rows would be mostly empty and too few for a
// GPU. A workgroup per row (query and head) and stretch of 128 keys, its invocations side by side over keys for the
// scores, then over channels for Σ p v; where there are several stretches, a second kernel joins what they gathered
// over their own largest score.

import type { AttentionAttributes } from '../fast/attention.ts';
import type { TensorInfo } from '../tf.ts';
import { type Form, formed, HIDDEN, rowsType, take } from './attention-tiles.ts';
import type { Gpu } from './gpu.ts';
import { rowSum, WORKGROUP_INDEX } from './parts.ts';
import type { Program } from './program.ts';

const LANES = 64;
const STRETCH = 2 * LANES;

const stretches = formed(
  (form: Form): Program => ({
    name: 'attention of few queries',
    code: /* wgsl */ `
struct Parameters {
  rows: u32, stretches: u32, queries: u32, keys: u32, heads: u32, groups: u32, width: u32,
  window: u32, scale: f32
}
@group(0) @binding(0) var<storage, read> q: ${rowsType(form)};
@group(0) @binding(1) var<storage, read> k: ${rowsType(form)};
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> query_segments: array<i32>;
@group(0) @binding(4) var<storage, read> key_segments: array<i32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read_write> statistics: array<vec2<f32>>;
@group(0) @binding(7) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${rowSum(LANES)}
${take(form, 'q')}
${take(form, 'k')}
var<workgroup> query_row: array<vec4<f32>, ${8 * form.chunks}>;
var<workgroup> weights: array<f32, ${STRETCH}>;
var<workgroup> largest_parts: array<f32, ${LANES}>;
fn row_largest(value: f32, lane: u32) -> f32 {
  largest_parts[lane] = value;
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { largest_parts[lane] = max(largest_parts[lane], largest_parts[lane + half]); }
  }
  return workgroupUniformLoad(&largest_parts[0]);
}

/// The sequence, its key head and the query of a row.
struct Row { b: u32, group: u32, query: u32 }
fn key_place(row: Row, key: u32) -> u32 { return (row.b * parameters.keys + key) * parameters.groups + row.group; }
fn score(row: Row, key: u32) -> f32 {
  let segment = query_segments[row.b * parameters.queries + row.query];
  if (segment < 0 || key >= parameters.keys) { return ${HIDDEN}; }
  if (key + parameters.queries > parameters.keys + row.query) { return ${HIDDEN}; }
  if (parameters.keys + row.query - parameters.queries - key >= parameters.window) { return ${HIDDEN}; }
  if (key_segments[row.b * parameters.keys + key] != segment) { return ${HIDDEN}; }
  var sum = vec4<f32>();
  let place = key_place(row, key);
  for (var c = 0u; 4 * c < parameters.width; c++) { sum = fma(query_row[c], take_k(place, 4 * c), sum); }
  return ((sum.x + sum.y) + (sum.z + sum.w)) * parameters.scale;
}
fn weighted(row: Row, first: u32, channel: u32) -> f32 {
  var sum = vec4<f32>();
  for (var j = 0u; j < ${STRETCH}; j += 4) {
    let last = max(parameters.keys, 1) - 1; // the weight of a key past it is 0
    for (var i = 0u; i < 4; i++) {
      let value = v[key_place(row, min(first + j + i, last)) * parameters.width + channel];
      sum[i] = fma(weights[j + i], value, sum[i]);
    }
  }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let index = workgroup_index(id, count);
  let at = index / parameters.stretches;
  if (at >= parameters.rows) { return; }
  let query = at / parameters.heads;
  let group = at % parameters.heads / (parameters.heads / parameters.groups);
  let row = Row(query / parameters.queries, group, query % parameters.queries);
  for (var c = lane; c < ${8 * form.chunks}; c += ${LANES}) { query_row[c] = take_q(at, 4 * c); }
  workgroupBarrier();
  let first = index % parameters.stretches * ${STRETCH};
  let scores = vec2(score(row, first + lane), score(row, first + ${LANES} + lane));
  let largest = row_largest(max(scores.x, scores.y), lane);
  let weight = select(vec2(0.0), exp(scores - largest), scores > vec2(${HIDDEN}));
  weights[lane] = weight.x;
  weights[${LANES} + lane] = weight.y;
  let total = row_sum(weight.x + weight.y, lane);
  let share = select(0.0, 1 / total, total > 0);
  let whole = parameters.stretches == 1;
  for (var c = lane; c < parameters.width; c += ${LANES}) {
    var sum = 0.0;
    if (total > 0) { sum = weighted(row, first, c) * select(1.0, share, whole); }
    out[index * parameters.width + c] = sum;
  }
  if (lane == 0) { statistics[index] = vec2(largest, select(total, share, whole)); }
}`,
  }),
);

const join: Program = {
  name: 'attention of few queries, joined',
  code: /* wgsl */ `
struct Parameters { rows: u32, stretches: u32, width: u32 }
@group(0) @binding(0) var<storage, read> gathered: array<f32>;
@group(0) @binding(1) var<storage, read> gathered_statistics: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<vec2<f32>>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroup_index(id, count);
  if (row >= parameters.rows) { return; }
  let start = row * parameters.stretches;
  var largest = f32(${HIDDEN});
  for (var i = 0u; i < parameters.stretches; i++) { largest = max(largest, gathered_statistics[start + i].x); }
  var total = 0.0;
  for (var i = 0u; i < parameters.stretches; i++) {
    let one = gathered_statistics[start + i];
    total = fma(exp(one.x - largest), one.y, total);
  }
  let share = select(0.0, 1 / total, total > 0);
  for (var c = lane; c < parameters.width; c += ${LANES}) {
    var sum = 0.0;
    for (var i = 0u; i < parameters.stretches; i++) {
      let keep = exp(gathered_statistics[start + i].x - largest);
      sum = fma(keep, gathered[(start + i) * parameters.width + c], sum);
    }
    out[row * parameters.width + c] = sum * share;
  }
  if (lane == 0) { statistics[row] = vec2(largest, share); }
}`,
};

/** Tensors of MoeAttention: inputs, then outputs, which are written. */
export function attendFew(
  gpu: Gpu,
  [q, k, v]: TensorInfo[],
  [out, statistics]: TensorInfo[],
  { querySegment_BS, keySegment_BS, window }: AttentionAttributes,
): void {
  const [batch, queries, heads, width] = q.shape;
  const [, keys, groups] = k.shape;
  const [rows, count] = [batch * queries * heads, Math.max(1, Math.ceil(keys / STRETCH))];
  const sizes = { rows, stretches: count, queries, keys, heads, groups, width, window, scale: 1 / Math.sqrt(width) };
  const gathered =
    count === 1 ? [out, statistics] : [gpu.allocate([rows * count, width]), gpu.allocate([rows * count, 2])];
  gpu.withIntegers(querySegment_BS, query =>
    gpu.withIntegers(keySegment_BS, key =>
      gpu.run(stretches(width), [q, k, v, query, key, ...gathered], sizes, rows * count),
    ),
  );
  if (count === 1) return;
  gpu.run(join, [...gathered, out, statistics], { rows, stretches: count, width }, rows);
  gpu.release(...gathered);
}
