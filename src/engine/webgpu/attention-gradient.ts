// The gradient of attention in WGSL. Weights p are computed again from the scores and the statistics of the forward
// pass, tile by tile: dv = pᵀ dy, dp = dy vᵀ, ds = p ⊙ (dp − Σ_key p dp), dq = ds k / √d, dk = dsᵀ q / √d. A workgroup
// per tile of rows gathers dq, one per tile of keys dk and dv, over all heads of the group; Σ_key p dp = Σ_c dy out
// comes first, for each row.
// MoeAttentionGrad: { q, k, v, out, statistics, gradient }, segments -> dq, dk, dv.
// See attention-tiles.ts for rows and tiles.

import type { AttentionAttributes } from '../fast/attention.ts';
import {
  CHUNK,
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
  take,
  tileSizes,
  withPlan,
} from './attention-tiles.ts';
import { registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import type { Program } from './program.ts';

/** For each row: largest score, 1 / Σ e^(score − largest), Σ_c dy out. The last is added up as dp is: equal for a
 *  lone key. */
const rowNumbers = formed(
  (form: Form): Program => ({
    name: 'rows of the gradient of attention',
    code: /* wgsl */ `
struct Parameters { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> out: ${rowsType(form)};
@group(0) @binding(1) var<storage, read> gradient: ${rowsType(form)};
@group(0) @binding(2) var<storage, read> statistics: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> numbers: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${take(form, 'out')}
${take(form, 'gradient')}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = workgroup_index(id, count) * 64 + lane;
  if (row >= parameters.rows) { return; }
  var mean = 0.0;
  for (var chunk = 0u; chunk < ${form.chunks}; chunk++) {
    var part = 0.0;
    for (var c = 0u; c < 8; c++) {
      let a = take_gradient(row, ${CHUNK} * chunk + 4 * c);
      let b = take_out(row, ${CHUNK} * chunk + 4 * c);
      part = fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, part))));
    }
    mean += part;
  }
  numbers[row] = vec4(statistics[row], mean, 0);
}`,
  }),
);

/** WEIGHT0 … 3 and SLOPE0 … 3 of a tile: p and ds. Takes score0 … 3, d_weight0 … 3, view0 … 3 and number0 … 3. */
const WEIGHTS_AND_SLOPES = /* wgsl */ `
  let key = tile * ${TILE_KEYS} + 4 * x;
  let segments = segments_of_keys(pair, key);
  ${each(
    4,
    i => `score${i} = select(vec4(${HIDDEN}), score${i} * parameters.scale, visible(view${i}, key, segments));
  let weight${i} = exp(score${i} - number${i}.x) * number${i}.y;
  let slope${i} = weight${i} * (d_weight${i} - number${i}.z);`,
  )}`;

const head = (form: Form): string => /* wgsl */ `
@group(0) @binding(0) var<storage, read> q: ${rowsType(form)};
@group(0) @binding(1) var<storage, read> k: ${rowsType(form)};
@group(0) @binding(2) var<storage, read> v: ${rowsType(form)};
@group(0) @binding(3) var<storage, read> gradient: ${rowsType(form)};
@group(0) @binding(4) var<storage, read> numbers: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> plan: array<i32>;
${TILES}
${stageRows(form, 'q')}
${stageRows(form, 'gradient')}
${stageKeys(form, 'k')}
${stageKeys(form, 'v')}
fn numbers_of(row: u32) -> vec4<f32> {
  if (place[row] == NOWHERE) { return vec4<f32>(); }
  return numbers[place[row]];
}`;

const gradientOfQueries = formed(
  (form: Form): Program => ({
    name: 'gradient of attention, queries',
    code: /* wgsl */ `
${head(form)}
@group(0) @binding(6) var<storage, read_write> dq: ${rowsType(form)};
@group(0) @binding(7) var<uniform> parameters: Parameters;
${put(form, 'dq')}
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
  workgroupBarrier();
  ${each(
    4,
    i => `let view${i} = view_of(pair, query_tile, ${16 * i} + y);
  let number${i} = numbers_of(${16 * i} + y);
  ${each(form.chunks, chunk => `var sum${chunk}_${i} = vec4<f32>();`)}`,
  )}
  let seen = key_tiles_seen(query_tile);
  for (var tile = seen.x; tile < seen.y; tile++) {
    if (apart(pair, query_tile, tile)) { continue; }
    ${products(form, 'q', 'k', 'score')}
    ${products(form, 'gradient', 'v', 'd_weight')}
    ${WEIGHTS_AND_SLOPES}
    workgroupBarrier();
    ${each(4, i => `row_part[(${16 * i} + y) * 9 + x] = slope${i};`)}
    ${sumsOverKeys(form, 'k', 'sum', () => '1.0')}
  }
  ${each(
    4,
    i => `{
    let row = place[${16 * i} + y];
    if (row != NOWHERE) {
      ${each(form.chunks, chunk => `put_dq(row, ${32 * chunk} + 4 * x, sum${chunk}_${i} * parameters.scale);`)}
    }
  }`,
  )}
}`,
  }),
);

/** `SUM{block}_0` … 3 += Σ_row weight[row, key] · NAME[row], for the invocation's keys 4 key_y … 4 key_y + 3 and
 *  channels 64 block + 4 key_x … + 3. The weights are in `row_part`; 16 rows of 64 channels pass through `key_part`
 *  at a time. */
const sumsOverRows = (blocks: number, name: string, sum: string): string =>
  each(
    blocks,
    block => /* wgsl */ `
  {
    ${each(4, j => `var part${j} = vec4<f32>();`)}
    for (var slab = 0u; slab < 4; slab++) {
      workgroupBarrier();
      for (var i = lane; i < 256; i += ${TILE_LANES}) {
        let row = place[16 * slab + i / 16];
        var value = vec4<f32>();
        if (row != NOWHERE) { value = take_${name}(row, ${64 * block} + 4 * (i % 16)); }
        key_part[i] = value;
      }
      workgroupBarrier();
      for (var row = 0u; row < 16; row++) {
        let weight = row_part[(16 * slab + row) * 9 + key_y];
        let value = key_part[16 * row + key_x];
        ${each(4, j => `part${j} = fma(vec4(weight.${'xyzw'[j]}), value, part${j});`)}
      }
    }
    ${each(4, j => `${sum}${block}_${j} += part${j};`)}
  }`,
  );

const gradientOfKeys = formed((form: Form): Program => {
  const blocks = Math.ceil(form.chunks / 2);
  return {
    name: 'gradient of attention, keys',
    code: /* wgsl */ `
${head(form)}
@group(0) @binding(6) var<storage, read_write> dk: ${rowsType(form)};
@group(0) @binding(7) var<storage, read_write> dv: ${rowsType(form)};
@group(0) @binding(8) var<uniform> parameters: Parameters;
${put(form, 'dk')}
${put(form, 'dv')}
@compute @workgroup_size(${TILE_LANES})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let pairs = parameters.batch * parameters.groups;
  let index = workgroup_index(id, count);
  if (index >= parameters.key_tiles * pairs) { return; }
  let tile = index / pairs;
  let pair = pair_of(index % pairs);
  let x = lane % 8;
  let y = lane / 8;
  let key_x = lane % 16;
  let key_y = lane / 16;
  ${each(blocks, block => each(4, j => `var sum_k${block}_${j} = vec4<f32>(); var sum_v${block}_${j} = vec4<f32>();`))}
  let seen = query_tiles_seen(tile);
  for (var query_tile = seen.x; query_tile < seen.y; query_tile++) {
    if (apart(pair, query_tile, tile)) { continue; }
    find_places(pair, query_tile, lane);
    ${products(form, 'q', 'k', 'score')}
    ${products(form, 'gradient', 'v', 'd_weight')}
    ${each(
      4,
      i => `let view${i} = view_of(pair, query_tile, ${16 * i} + y);
    let number${i} = numbers_of(${16 * i} + y);`,
    )}
    ${WEIGHTS_AND_SLOPES}
    workgroupBarrier();
    ${each(4, i => `row_part[(${16 * i} + y) * 9 + x] = weight${i};`)}
    ${sumsOverRows(blocks, 'gradient', 'sum_v')}
    workgroupBarrier();
    ${each(4, i => `row_part[(${16 * i} + y) * 9 + x] = slope${i};`)}
    ${sumsOverRows(blocks, 'q', 'sum_k')}
  }
  ${each(
    4,
    j => `{
    let key = tile * ${TILE_KEYS} + 4 * key_y + ${j};
    if (key < parameters.keys) {
      ${each(
        blocks,
        block => `put_dk(key_place(pair, key), ${64 * block} + 4 * key_x, sum_k${block}_${j} * parameters.scale);
      put_dv(key_place(pair, key), ${64 * block} + 4 * key_x, sum_v${block}_${j});`,
      )}
    }
  }`,
  )}
}`,
  };
});

registerGpu<AttentionAttributes>('MoeAttentionGrad', (gpu, inputs, attributes) => {
  const { q, k, v, out, statistics, gradient } = inputs;
  const [batch, queries, heads, width] = q.shape;
  const [dq, dk, dv] = [q, k, v].map(tensor => gpu.allocate(tensor.shape));
  const sizes = tileSizes(q, k, attributes.window);
  const rows = batch * queries * heads;
  const numbers = gpu.allocate([rows, 4]);
  gpu.run(rowNumbers(width), [out, gradient, statistics, numbers], { rows, width }, Math.ceil(rows / 64));
  withPlan(gpu, sizes, attributes, plan => {
    const read = [q, k, v, gradient, numbers, plan];
    const pairs = batch * sizes.groups;
    gpu.run(gradientOfQueries(width), [...read, dq], sizes, sizes.query_tiles * pairs);
    gpu.run(gradientOfKeys(width), [...read, dk, dv], sizes, sizes.key_tiles * pairs);
  });
  gpu.release(numbers);
  return [dq, dk, dv];
});
