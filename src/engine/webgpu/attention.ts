// Causal grouped-query attention in WGSL with a running softmax over tiles of keys (Dao et al. 2022, "FlashAttention"):
// the Sq × Sk scores of a head never exist. A workgroup per tile of rows; see attention-tiles.ts for rows and tiles.
// MoeAttention: { q: [B, Sq, H, d], k, v: [B, Sk, G, d] }, segments -> out as q, statistics [B, Sq, H, 2] (each row's
// largest score and 1 / Σ e^(score − largest), 0 where a row sees nothing).

import type { AttentionAttributes } from '../fast/attention.ts';
import { attendFew } from './attention-few.ts';
import {
  each,
  type Form,
  formed,
  HIDDEN,
  products,
  put,
  rowsType,
  stageKeys,
  stageRows,
  sumsOverKeys,
  TILE_KEYS,
  TILE_LANES,
  TILES,
  tileSizes,
  withPlan,
} from './attention-tiles.ts';
import { type Gpu, registerGpu } from './gpu.ts';
import type { Program } from './program.ts';

/** Queries of a sequence that are not worth a tile. */
const FEW = 16;

/** Largest and Σ of what the eight invocations of a row hold, through workgroup memory, four rows in a vector. */
const EIGHT_OF_A_ROW = /* wgsl */ `
var<workgroup> eighths: array<vec4<f32>, ${TILE_LANES}>;
fn largest_of_rows(y: u32) -> vec4<f32> {
  var value = eighths[8 * y];
  for (var i = 1u; i < 8; i++) { value = max(value, eighths[8 * y + i]); }
  return value;
}
fn sum_of_rows(y: u32) -> vec4<f32> {
  let at = 8 * y;
  return ((eighths[at] + eighths[at + 1]) + (eighths[at + 2] + eighths[at + 3])) +
         ((eighths[at + 4] + eighths[at + 5]) + (eighths[at + 6] + eighths[at + 7]));
}
fn largest_of(value: vec4<f32>) -> f32 { return max(max(value.x, value.y), max(value.z, value.w)); }
fn sum_of(value: vec4<f32>) -> f32 { return (value.x + value.y) + (value.z + value.w); }`;

const fourRows = (code: (i: number) => string): string => `vec4(${[0, 1, 2, 3].map(code).join(', ')})`;

/** A tile of scores becomes weights e^(score − largest) in `row_part`; what was gathered before is to be multiplied
 *  by `keep`. */
const RUNNING_SOFTMAX = /* wgsl */ `
  let key = tile * ${TILE_KEYS} + 4 * x;
  let segments = segments_of_keys(pair, key);
  ${each(
    4,
    i => `score${i} = select(vec4(${HIDDEN}), score${i} * parameters.scale, visible(view${i}, key, segments));`,
  )}
  eighths[lane] = ${fourRows(i => `largest_of(score${i})`)};
  workgroupBarrier();
  let before = largest;
  largest = max(largest, largest_of_rows(y));
  let keep = select(exp(before - largest), vec4(1.0), before == largest);
  ${each(
    4,
    i => `let weight${i} = select(vec4(0.0), exp(score${i} - largest[${i}]), score${i} > vec4(${HIDDEN}));
  row_part[(${16 * i} + y) * 9 + x] = weight${i};`,
  )}
  total = fma(total, keep, ${fourRows(i => `sum_of(weight${i})`)});`;

const forward = formed(
  (form: Form): Program => ({
    name: 'attention',
    code: /* wgsl */ `
@group(0) @binding(0) var<storage, read> q: ${rowsType(form)};
@group(0) @binding(1) var<storage, read> k: ${rowsType(form)};
@group(0) @binding(2) var<storage, read> v: ${rowsType(form)};
@group(0) @binding(3) var<storage, read> plan: array<i32>;
@group(0) @binding(4) var<storage, read_write> out: ${rowsType(form)};
@group(0) @binding(5) var<storage, read_write> statistics: array<vec2<f32>>;
@group(0) @binding(6) var<uniform> parameters: Parameters;
${TILES}
${EIGHT_OF_A_ROW}
${stageRows(form, 'q')}
${stageKeys(form, 'k')}
${stageKeys(form, 'v')}
${put(form, 'out')}
@compute @workgroup_size(${TILE_LANES})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let pairs = parameters.batch * parameters.groups;
  let index = workgroup_index(id, count);
  if (index >= parameters.query_tiles * pairs) { return; }
  let query_tile = parameters.query_tiles - 1 - index / pairs; // those with the most to do begin first
  let pair = pair_of(index % pairs);
  let x = lane % 8;
  let y = lane / 8;
  find_places(pair, query_tile, lane);
  ${each(
    4,
    i => `let view${i} = view_of(pair, query_tile, ${16 * i} + y);
  ${each(form.chunks, chunk => `var sum${chunk}_${i} = vec4<f32>();`)}`,
  )}
  var largest = vec4<f32>(${HIDDEN});
  var total = vec4<f32>();
  let seen = key_tiles_seen(query_tile);
  for (var tile = seen.x; tile < seen.y; tile++) {
    if (apart(pair, query_tile, tile)) { continue; }
    ${products(form, 'q', 'k', 'score')}
    ${RUNNING_SOFTMAX}
    ${sumsOverKeys(form, 'v', 'sum', i => `keep[${i}]`)}
  }
  workgroupBarrier();
  eighths[lane] = total;
  workgroupBarrier();
  total = sum_of_rows(y);
  let share = select(vec4(0.0), 1 / total, total > vec4(0.0));
  ${each(
    4,
    i => `{
    let row = place[${16 * i} + y];
    if (row != NOWHERE) {
      ${each(form.chunks, chunk => `put_out(row, ${32 * chunk} + 4 * x, sum${chunk}_${i} * share[${i}]);`)}
      if (x == 0) { statistics[row] = vec2(largest[${i}], share[${i}]); }
    }
  }`,
  )}
}`,
  }),
);

registerGpu<AttentionAttributes>('MoeAttention', (gpu: Gpu, { q, k, v }, attributes) => {
  const [batch, queries, heads, width] = q.shape;
  const [out, statistics] = [gpu.allocate(q.shape), gpu.allocate([batch, queries, heads, 2])];
  if (queries <= FEW) {
    attendFew(gpu, [q, k, v], [out, statistics], attributes);
    return [out, statistics];
  }
  const sizes = tileSizes(q, k, attributes.window);
  const workgroups = sizes.query_tiles * batch * sizes.groups;
  withPlan(gpu, sizes, attributes, plan =>
    gpu.run(forward(width), [q, k, v, plan, out, statistics], sizes, workgroups),
  );
  return [out, statistics];
});
