// What attention and its gradients in WGSL share: tiles of 64 rows × 32 keys, a workgroup of 128 invocations for each.
// Row n of a key head is query ⌊n / R⌋ of its head n mod R (R = H / G). Products over channels go through workgroup
// memory, 32 channels (8 vectors) at a time; an invocation holds rows y + 16 i × keys 4 x + j, x = lane mod 8, y =
// ⌊lane / 8⌋. Sums are taken tile by tile, then over the tiles, each in one order, by fma, so that equal sums have
// equal bits. A hidden key changes no bit: out and dq of a document depend on its place modulo 32 positions alone, dk
// and dv on its place modulo 64 (32 where R is even).

import type { AttentionAttributes } from '../fast/attention.ts';
import type { TensorInfo } from '../tf.ts';
import type { Gpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import type { Program } from './program.ts';

export const TILE_LANES = 128;
const TILE_ROWS = 64;
export const TILE_KEYS = 32;
export const CHUNK = 32;

/** Score of a key that a row may not see: finite, as WGSL knows no infinity. */
export const HIDDEN = '-1e30';

/** WGSL once for each i below `count`. */
export const each = (count: number, code: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => code(i)).join('\n  ');

export type TileSizes = Record<
  'batch' | 'queries' | 'keys' | 'groups' | 'ratio' | 'width' | 'query_tiles' | 'key_tiles' | 'window' | 'scale',
  number
>;

export function tileSizes(q: TensorInfo, k: TensorInfo, window: number): TileSizes {
  const [batch, queries, heads, width] = q.shape;
  const [, keys, groups] = k.shape;
  const ratio = heads / groups;
  const [query_tiles, key_tiles] = [Math.ceil((queries * ratio) / TILE_ROWS), Math.ceil(keys / TILE_KEYS)];
  const scale = 1 / Math.sqrt(width);
  return { batch, queries, keys, groups, ratio, width, query_tiles, key_tiles, window: Math.min(window, keys), scale };
}

/** The parameters, and where the parts of a plan begin: pairs (lowest, highest segment) of the tiles of rows and of
 *  those of keys, then the segments of queries and of keys. */
const PARAMETERS = /* wgsl */ `
struct Parameters {
  batch: u32, queries: u32, keys: u32, groups: u32, ratio: u32, width: u32, query_tiles: u32, key_tiles: u32,
  window: i32, scale: f32
}
fn key_tiles_at() -> u32 { return 2 * parameters.batch * parameters.query_tiles; }
fn query_segments_at() -> u32 { return key_tiles_at() + 2 * parameters.batch * parameters.key_tiles; }
fn key_segments_at() -> u32 { return query_segments_at() + parameters.batch * parameters.queries; }
${WORKGROUP_INDEX}`;

const planOfTiles: Program = {
  name: 'plan of attention',
  code: /* wgsl */ `
@group(0) @binding(0) var<storage, read> query_segments: array<i32>;
@group(0) @binding(1) var<storage, read> key_segments: array<i32>;
@group(0) @binding(2) var<storage, read_write> plan: array<i32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${PARAMETERS}
fn widen(range: vec2<i32>, segment: i32) -> vec2<i32> {
  return select(range, vec2(min(range.x, segment), max(range.y, segment)), segment >= 0);
}
fn plan_query_tile(at: u32) {
  let start = at / parameters.query_tiles * parameters.queries;
  let first = at % parameters.query_tiles * ${TILE_ROWS};
  let last = min(first + ${TILE_ROWS}, parameters.queries * parameters.ratio) - 1;
  var range = vec2<i32>(0x7fffffff, -1);
  for (var i = first / parameters.ratio; i <= last / parameters.ratio; i++) {
    range = widen(range, query_segments[start + i]);
  }
  plan[2 * at] = range.x;
  plan[2 * at + 1] = range.y;
}
fn plan_key_tile(at: u32) {
  let start = at / parameters.key_tiles * parameters.keys;
  let first = at % parameters.key_tiles * ${TILE_KEYS};
  var range = vec2<i32>(0x7fffffff, -1);
  for (var j = first; j < min(first + ${TILE_KEYS}, parameters.keys); j++) {
    range = widen(range, key_segments[start + j]);
  }
  plan[key_tiles_at() + 2 * at] = range.x;
  plan[key_tiles_at() + 2 * at + 1] = range.y;
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  var at = workgroup_index(id, count) * 64 + lane;
  if (at < parameters.batch * parameters.query_tiles) { plan_query_tile(at); return; }
  at -= parameters.batch * parameters.query_tiles;
  if (at < parameters.batch * parameters.key_tiles) { plan_key_tile(at); return; }
  at -= parameters.batch * parameters.key_tiles;
  if (at < parameters.batch * parameters.queries) {
    plan[query_segments_at() + at] = select(query_segments[at], -2, query_segments[at] < 0);
    return;
  }
  at -= parameters.batch * parameters.queries;
  if (at < parameters.batch * parameters.keys) { plan[key_segments_at() + at] = max(key_segments[at], -1); }
}`,
};

/** Runs `use` with the plan of the tiles, in which padding is segment −2 among queries and −1 among keys. */
export function withPlan(
  gpu: Gpu,
  sizes: TileSizes,
  { querySegment_BS, keySegment_BS }: AttentionAttributes,
  use: (plan: TensorInfo) => void,
): void {
  const { batch, queries, keys, query_tiles, key_tiles } = sizes;
  const plan = gpu.allocate([batch * (2 * query_tiles + 2 * key_tiles + queries + keys)], 'int32');
  const workgroups = Math.ceil((batch * (query_tiles + key_tiles + queries + keys)) / 64);
  gpu.withIntegers(querySegment_BS, query =>
    gpu.withIntegers(keySegment_BS, key => gpu.run(planOfTiles, [query, key, plan], sizes, workgroups)),
  );
  use(plan);
  gpu.release(plan);
}

/** How a kernel on tiles is made: whether rows are read as vectors of four, and in how many pieces of 32 channels. */
export interface Form {
  vectors: boolean;
  chunks: number;
}

/** A kernel for rows of a width, each form of it made once. */
export function formed(make: (form: Form) => Program): (width: number) => Program {
  const made = new Map<string, Program>();
  return width => {
    const form = { vectors: width % 4 === 0, chunks: Math.ceil(width / CHUNK) };
    const key = `${form.vectors} ${form.chunks}`;
    const program = made.get(key) ?? make(form);
    made.set(key, program);
    return program;
  };
}

/** The WGSL type of a tensor of rows. */
export const rowsType = ({ vectors }: Form): string => (vectors ? 'array<vec4<f32>>' : 'array<f32>');

/** `take_NAME(row, channel)`: four channels of a row, 0 past its end. */
export const take = ({ vectors }: Form, name: string): string => /* wgsl */ `
fn take_${name}(row: u32, channel: u32) -> vec4<f32> {
  var value = vec4<f32>();
  ${
    vectors
      ? `if (channel < parameters.width) { value = ${name}[(row * parameters.width + channel) / 4]; }`
      : `for (var i = 0u; i < 4 && channel + i < parameters.width; i++) {
    value[i] = ${name}[row * parameters.width + channel + i];
  }`
  }
  return value;
}`;

/** `put_NAME(row, channel, value)`: writes four channels of a row, none past its end. */
export const put = ({ vectors }: Form, name: string): string => /* wgsl */ `
fn put_${name}(row: u32, channel: u32, value: vec4<f32>) {
  ${
    vectors
      ? `if (channel < parameters.width) { ${name}[(row * parameters.width + channel) / 4] = value; }`
      : `for (var i = 0u; i < 4 && channel + i < parameters.width; i++) {
    ${name}[row * parameters.width + channel + i] = value[i];
  }`
  }
}`;

/** `stage_NAME(chunk, lane)`: the tile's rows of a tensor like q, 32 channels of them, into `row_part`. */
export const stageRows = (form: Form, name: string): string => /* wgsl */ `
${take(form, name)}
fn stage_${name}(chunk: u32, lane: u32) {
  for (var i = lane; i < ${TILE_ROWS * 8}; i += ${TILE_LANES}) {
    let row = place[i / 8];
    var value = vec4<f32>();
    if (row != NOWHERE) { value = take_${name}(row, ${CHUNK} * chunk + 4 * (i % 8)); }
    row_part[i / 8 * 9 + i % 8] = value;
  }
}`;

/** `stage_NAME(chunk, tile, lane)`: a tile of keys or values, 32 channels of them, into `key_part`. */
export const stageKeys = (form: Form, name: string): string => /* wgsl */ `
${take(form, name)}
fn stage_${name}(chunk: u32, pair: Pair, tile: u32, lane: u32) {
  for (var i = lane; i < ${TILE_KEYS * 8}; i += ${TILE_LANES}) {
    let key = tile * ${TILE_KEYS} + i / 8;
    var value = vec4<f32>();
    if (key < parameters.keys) { value = take_${name}(key_place(pair, key), ${CHUNK} * chunk + 4 * (i % 8)); }
    key_part[key_slot(i / 8) * 9 + i % 8] = value;
  }
}`;

/** Workgroup memory and what a tile is. Rows of it are 9 vectors wide, not 8, so that they begin in different banks;
 *  key 4 x + j lies at 8 j + x for the same reason. */
export const TILES = /* wgsl */ `
${PARAMETERS}
const NOWHERE = 0xffffffffu;
var<workgroup> row_part: array<vec4<f32>, ${TILE_ROWS * 9}>;
var<workgroup> key_part: array<vec4<f32>, ${TILE_KEYS * 9}>;
var<workgroup> place: array<u32, ${TILE_ROWS}>;
fn key_slot(key: u32) -> u32 { return key % 4 * 8 + key / 4; }

/// A sequence and a key head.
struct Pair { b: u32, group: u32 }
fn pair_of(index: u32) -> Pair { return Pair(index / parameters.groups, index % parameters.groups); }
fn key_place(pair: Pair, key: u32) -> u32 {
  return (pair.b * parameters.keys + key) * parameters.groups + pair.group;
}

/// Where the rows of a tile lie in a tensor like q [B, Sq, H].
fn find_places(pair: Pair, tile: u32, lane: u32) {
  if (lane >= ${TILE_ROWS}) { return; }
  let n = tile * ${TILE_ROWS} + lane;
  let query = pair.b * parameters.queries + n / parameters.ratio;
  let row = (query * parameters.groups + pair.group) * parameters.ratio + n % parameters.ratio;
  place[lane] = select(NOWHERE, row, n < parameters.queries * parameters.ratio);
}

/// The last key that a row may see, and its segment.
fn view_of(pair: Pair, tile: u32, row: u32) -> vec2<i32> {
  let n = tile * ${TILE_ROWS} + row;
  if (n >= parameters.queries * parameters.ratio) { return vec2<i32>(-1, -2); }
  let query = n / parameters.ratio;
  let segment = plan[query_segments_at() + pair.b * parameters.queries + query];
  return vec2<i32>(i32(parameters.keys + query) - i32(parameters.queries), segment);
}
fn segments_of_keys(pair: Pair, key: u32) -> vec4<i32> {
  var segments = vec4<i32>(-1);
  for (var j = 0u; j < 4 && key + j < parameters.keys; j++) {
    segments[j] = plan[key_segments_at() + pair.b * parameters.keys + key + j];
  }
  return segments;
}
fn visible(view: vec2<i32>, key: u32, segments: vec4<i32>) -> vec4<bool> {
  let back = vec4(view.x - i32(key)) - vec4(0, 1, 2, 3);
  return (segments == vec4(view.y)) & (back >= vec4(0)) & (back < vec4(parameters.window));
}

/// Whether no row of one tile shares a segment with any key of another.
fn apart(pair: Pair, query_tile: u32, key_tile: u32) -> bool {
  let query = 2 * (pair.b * parameters.query_tiles + query_tile);
  let key = key_tiles_at() + 2 * (pair.b * parameters.key_tiles + key_tile);
  return plan[query + 1] < plan[key] || plan[key + 1] < plan[query];
}
/// The tiles of keys that some row of a tile reaches: from the first to before the second.
fn key_tiles_seen(query_tile: u32) -> vec2<u32> {
  let first = parameters.keys + query_tile * ${TILE_ROWS} / parameters.ratio + 1;
  let last = (min((query_tile + 1) * ${TILE_ROWS}, parameters.queries * parameters.ratio) - 1) / parameters.ratio;
  if (parameters.keys + last < parameters.queries) { return vec2(0u); }
  let hidden = parameters.queries + u32(parameters.window); // of the keys up to a row's own, those before its window
  return vec2((max(first, hidden) - hidden) / ${TILE_KEYS},
              min((parameters.keys + last - parameters.queries) / ${TILE_KEYS} + 1, parameters.key_tiles));
}
/// The tiles of rows that reach some key of a tile: from the first to before the second.
fn query_tiles_seen(key_tile: u32) -> vec2<u32> {
  let first = key_tile * ${TILE_KEYS} + parameters.queries;
  let last = min(first + ${TILE_KEYS}, parameters.keys + parameters.queries) + u32(parameters.window) - 1;
  if (last <= parameters.keys) { return vec2(0u); }
  let end = min(last - parameters.keys, parameters.queries) * parameters.ratio;
  return vec2((max(first, parameters.keys) - parameters.keys) * parameters.ratio / ${TILE_ROWS},
              (end + ${TILE_ROWS - 1}) / ${TILE_ROWS});
}`;

/** INTO0 … INTO3: products of the invocation's four rows of `rows` with its four keys of `keys`, added up over each
 *  32 channels, then over those sums, which keeps twice the digits of one long sum. Takes `pair`, `tile` (of keys),
 *  `lane`, `x` and `y`. */
export const products = ({ chunks }: Form, rows: string, keys: string, into: string): string => /* wgsl */ `
  ${each(4, i => `var ${into}${i} = vec4<f32>();`)}
  for (var chunk = 0u; chunk < ${chunks}; chunk++) {
    workgroupBarrier();
    stage_${rows}(chunk, lane);
    stage_${keys}(chunk, pair, tile, lane);
    workgroupBarrier();
    ${each(4, i => `var part${i} = vec4<f32>();`)}
    for (var c = 0u; c < 8; c++) {
      ${each(4, j => `let key${j} = key_part[(${8 * j} + x) * 9 + c];`)}
      ${each(4, i => {
        const term = (c: string) => `fma(vec4(row.${c}), vec4(key0.${c}, key1.${c}, key2.${c}, key3.${c}), `;
        return `{
        let row = row_part[(${16 * i} + y) * 9 + c];
        part${i} = ${[...'wzyx'].map(term).join('')}part${i}))));
      }`;
      })}
    }
    ${each(4, i => `${into}${i} += part${i};`)}
  }`;

/** SUM{chunk}_0 … 3 = SUM ⊙ keep + Σ_key weight[row, key] · NAME[key], for the invocation's four rows and channels
 *  4 x … 4 x + 3 of each chunk. The weights are in `row_part`, and a barrier stands before they were written. Takes
 *  what `products` takes. */
export const sumsOverKeys = ({ chunks }: Form, name: string, sum: string, keep: (i: number) => string): string =>
  each(
    chunks,
    chunk => /* wgsl */ `
  ${chunk === 0 ? '' : 'workgroupBarrier();'}
  stage_${name}(${chunk}, pair, tile, lane);
  workgroupBarrier();
  {
    ${each(4, i => `var part${i} = vec4<f32>();`)}
    for (var key = 0u; key < 8; key++) {
      ${each(4, i => `let weight${i} = row_part[(${16 * i} + y) * 9 + key];`)}
      ${each(
        4,
        j => `{
        let value = key_part[(${8 * j} + key) * 9 + x];
        ${each(4, i => `part${i} = fma(vec4(weight${i}.${'xyzw'[j]}), value, part${i});`)}
      }`,
      )}
    }
    ${each(4, i => `${sum}${chunk}_${i} = fma(${sum}${chunk}_${i}, vec4(${keep(i)}), part${i});`)}
  }`,
  );
