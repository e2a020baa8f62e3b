// The plan of plan.ts in WGSL, a stable counting sort in which atomics count but never give a place.
// Few experts: a workgroup per expert walks all ids and ranks its own (scan and carry); then each slot finds its row.
// Many experts or slots: counts per expert and tile [E, tiles] → sums before each, which are the rows at which a tile's slots of
// an expert start → each tile ranks its slots in order and writes them.
// Rows and slots are a permutation of each other, so no two writes meet; rows beyond the last get −1 from the slot of that number.

import { type TensorInfo, tf } from '../../src/engine/tf.ts';
import { countTiles, MOST_IDS, TILE } from '../../src/engine/webgpu/count-tiles.ts';
import { fill } from '../../src/engine/webgpu/fill.ts';
import type { Gpu } from '../../src/engine/webgpu/gpu.ts';
import { WORKGROUP_INDEX } from '../../src/engine/webgpu/parts.ts';
import { exclusiveSums, scanLanes } from '../../src/engine/webgpu/scan.ts';
import { UserError } from '../../src/errors.ts';

/** Up to so many experts and slots each expert walks all slots, which is two passes instead of three. */
const WALKED_EXPERTS = 32;
const WALKED_SLOTS = 32768;

/** Ids that an invocation takes at once, a bit each. */
const RUN = 16;

const rankByExpert = {
  name: 'plan: ranks',
  code: /* wgsl */ `
struct Parameters { size: u32, experts: u32 }
@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read_write> rank: array<i32>;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${scanLanes(256)}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let expert = id.x;
  var carry = 0u;
  for (var start = 0u; start < parameters.size; start += ${256 * RUN}) {
    let first = start + lane * ${RUN};
    let count = min(max(parameters.size, first) - first, ${RUN});
    var own = 0u;
    for (var i = 0u; i < count; i++) {
      let wanted = u32(ids[first + i]);
      own |= select(0u, 1u << i, wanted == expert);
      if (expert == 0 && wanted >= parameters.experts) { rank[first + i] = -1; }
    }
    let scanned = scan(countOneBits(own), lane);
    var place = carry + scanned.x;
    for (var left = own; left != 0; left &= left - 1) {
      rank[first + firstTrailingBit(left)] = i32(place);
      place++;
    }
    carry += scanned.y;
  }
  if (lane == 0) { counts[expert] = carry; }
}`,
};

const placeSlots = {
  name: 'plan: rows',
  code: /* wgsl */ `
struct Parameters { size: u32, experts: u32, choices: u32 }
@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> rank: array<i32>;
@group(0) @binding(2) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read_write> inverse: array<i32>;
@group(0) @binding(4) var<storage, read_write> offsets: array<i32>;
@group(0) @binding(5) var<storage, read_write> slots: array<i32>;
@group(0) @binding(6) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(7) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
var<workgroup> starts: array<u32, ${WALKED_EXPERTS + 1}>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = workgroup_index(id, count);
  if (lane <= parameters.experts) {
    var before = 0u;
    for (var e = 0u; e < lane; e++) { before += counts[e]; }
    starts[lane] = before;
    if (group == 0) { offsets[lane] = i32(before); }
  }
  workgroupBarrier();
  let n = group * 256 + lane;
  if (n >= parameters.size) { return; }
  let own = u32(ids[n]);
  var row = -1;
  if (own < parameters.experts) {
    row = i32(starts[own]) + rank[n];
    slots[row] = i32(n);
    tokens[row] = i32(n / parameters.choices);
  }
  inverse[n] = row;
  if (n >= starts[parameters.experts]) { slots[n] = -1; tokens[n] = -1; }
}`,
};

/** Words of counters in a tile's workgroup memory: of 2^n experts, 4096 / 2^n runs (64 at most) of 2^n / 2 + 1 words. */
const COUNTERS = 64 * 33;

/** In a tile, 64 invocations or fewer take a run of slots each and count along it, two 16-bit counters in a word: the count before
 *  a slot is its place in its run; the sums over the runs before give its place in the tile. */
const placeTile = {
  name: 'plan: rows of tiles',
  code: /* wgsl */ `
struct Parameters { size: u32, tiles: u32, choices: u32, experts: u32, runs: u32, run: u32, words: u32 }
@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read_write> inverse: array<i32>;
@group(0) @binding(3) var<storage, read_write> offsets: array<i32>;
@group(0) @binding(4) var<storage, read_write> slots: array<i32>;
@group(0) @binding(5) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(6) var<storage, read_write> rank: array<i32>;
@group(0) @binding(7) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
const NONE = 0xffffu;
var<workgroup> slot_ids: array<u32, ${TILE + TILE / 16}>; // below 16 bits the expert, above them the place in the run
var<workgroup> counters: array<u32, ${COUNTERS}>;
fn padded(p: u32) -> u32 { return p + p / 16; } // so that invocations reach different banks
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let tile = workgroup_index(id, count);
  for (var p = lane; p < ${TILE}; p += 64) {
    let n = tile * ${TILE} + p;
    var own = NONE;
    if (n < parameters.size) { own = u32(ids[n]); }
    slot_ids[padded(p)] = select(NONE, own, own < parameters.experts);
  }
  for (var word = lane; word < parameters.runs * parameters.words; word += 64) { counters[word] = 0; }
  workgroupBarrier();
  if (lane < parameters.runs) {
    for (var p = lane * parameters.run; p < (lane + 1) * parameters.run; p++) {
      let own = slot_ids[padded(p)];
      if (own != NONE) {
        let word = lane * parameters.words + own / 2;
        let shift = 16 * (own & 1);
        let counted = counters[word];
        slot_ids[padded(p)] = own | (((counted >> shift) & 0xffff) << 16);
        counters[word] = counted + (1u << shift);
      }
    }
  }
  workgroupBarrier();
  for (var w = lane; w < parameters.words; w += 64) {
    var before = 0u; // of two experts at once: a tile has no more than ${TILE} of either
    for (var word = w; word < parameters.runs * parameters.words; word += parameters.words) {
      let own = counters[word];
      counters[word] = before;
      before += own;
    }
  }
  workgroupBarrier();
  if (tile == 0) {
    for (var e = lane; e <= parameters.experts; e += 64) { offsets[e] = i32(starts[e * parameters.tiles]); }
  }
  let rows = starts[parameters.experts * parameters.tiles];
  for (var p = lane; p < ${TILE}; p += 64) {
    let n = tile * ${TILE} + p;
    if (n >= parameters.size) { break; }
    let own = slot_ids[padded(p)] & 0xffff;
    var row = -1;
    var place = -1;
    if (own != NONE) {
      let runs_before = counters[p / parameters.run * parameters.words + own / 2] >> (16 * (own & 1));
      let found = starts[own * parameters.tiles + tile] + (runs_before & 0xffff) + (slot_ids[padded(p)] >> 16);
      row = i32(found);
      place = i32(found - starts[own * parameters.tiles]);
      slots[found] = i32(n);
      tokens[found] = i32(n / parameters.choices);
    }
    inverse[n] = row;
    rank[n] = place;
    if (n >= rows) { slots[n] = -1; tokens[n] = -1; }
  }
}`,
};

/** How a tile is cut into runs: as many as their counters have room. */
function runsFor(experts: number): { runs: number; run: number; words: number } {
  const words = (Math.ceil(experts / 2) | 1) >>> 0; // odd, so that invocations reach different banks
  const runs = Math.min(64, 4096 / 2 ** Math.ceil(Math.log2(experts)));
  return { runs, run: TILE / runs, words };
}

/** The tensors of a plan, as new tensors: all int32, [N] but for offsets [E + 1]. */
export interface PlanTensors {
  inverse: TensorInfo;
  offsets: TensorInfo;
  slot: TensorInfo;
  token: TensorInfo;
  rank: TensorInfo;
}

/** Plans the dispatch of int32 ids [N], 0..E−1 or −1, N a multiple of k. @throws UserError for more than 1024 experts. */
export function makePlan(gpu: Gpu, ids: TensorInfo, k: number, experts: number): PlanTensors {
  if (experts > MOST_IDS) throw new UserError(`webgpu routes to at most ${MOST_IDS} experts, not ${experts}.`);
  const size = tf.util.sizeFromShape(ids.shape);
  const perSlot = () => gpu.allocate([size], 'int32');
  const offsets = gpu.allocate([experts + 1], 'int32');
  const plan = { inverse: perSlot(), offsets, slot: perSlot(), token: perSlot(), rank: perSlot() };
  if (size === 0) fill(gpu, offsets, 0);
  else if (experts <= WALKED_EXPERTS && size <= WALKED_SLOTS) walk(gpu, ids, plan, k, experts);
  else sortTiles(gpu, ids, plan, k, experts);
  return plan;
}

function walk(gpu: Gpu, ids: TensorInfo, plan: PlanTensors, k: number, experts: number): void {
  const size = tf.util.sizeFromShape(ids.shape);
  const { inverse, offsets, slot, token, rank } = plan;
  const counts = gpu.allocate([experts], 'int32');
  gpu.run(rankByExpert, [ids, rank, counts], { size, experts }, experts);
  const outputs = [inverse, offsets, slot, token];
  gpu.run(placeSlots, [ids, rank, counts, ...outputs], { size, experts, choices: k }, Math.ceil(size / 256));
  gpu.release(counts);
}

function sortTiles(gpu: Gpu, ids: TensorInfo, plan: PlanTensors, k: number, experts: number): void {
  const size = tf.util.sizeFromShape(ids.shape);
  const tiles = Math.ceil(size / TILE);
  const counts = countTiles(gpu, ids, size, experts);
  const starts = exclusiveSums(gpu, counts);
  const { inverse, offsets, slot, token, rank } = plan;
  const tensors = [ids, starts, inverse, offsets, slot, token, rank];
  gpu.run(placeTile, tensors, { size, tiles, choices: k, experts, ...runsFor(experts) }, tiles);
  gpu.release(counts, starts);
}
