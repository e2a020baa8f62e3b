// How often each id stands in each tile of a list: the table [E, tiles] from which a stable counting sort and loads are made.
// Atomics only count, in workgroup memory: sums of integers have no order.

import type { TensorInfo } from '../tf.ts';
import type { Gpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';

/** Ids of a tile, which is a workgroup's. */
export const TILE = 1024;
/** Ids 0 … 1023: their counts are 4 KiB of a workgroup's memory. */
export const MOST_IDS = 1024;

const countTile = {
  name: 'ids per tile',
  code: /* wgsl */ `
struct Parameters { size: u32, tiles: u32, ids: u32, per_mask: u32 }
@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> masks: array<i32>;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;
@group(0) @binding(3) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
var<workgroup> found: array<atomic<u32>, ${MOST_IDS}>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let tile = workgroup_index(id, count);
  let end = min(parameters.size, (tile + 1) * ${TILE});
  for (var e = lane; e < parameters.ids; e += 256) { atomicStore(&found[e], 0); }
  workgroupBarrier();
  for (var n = tile * ${TILE} + lane; n < end; n += 256) {
    let own = u32(ids[n]);
    if (own < parameters.ids) {
      if (parameters.per_mask == 0 || masks[n / max(1, parameters.per_mask)] == 1) { atomicAdd(&found[own], 1); }
    }
  }
  workgroupBarrier();
  if (tile >= parameters.tiles) { return; }
  for (var e = lane; e < parameters.ids; e += 256) { counts[e * parameters.tiles + tile] = atomicLoad(&found[e]); }
}`,
};

/** A new int32 tensor [numIds, ⌈size / TILE⌉]: how often each id stands in each tile of `ids`, [size] with others than
 *  0 … numIds − 1 left out. With `mask`, an id counts where mask.values[n / perValue] is 1. The caller releases it.
 *  @throws Error for more ids than a workgroup counts. */
export function countTiles(
  gpu: Gpu,
  ids: TensorInfo,
  size: number,
  numIds: number,
  mask?: { values: TensorInfo; perValue: number },
): TensorInfo {
  if (numIds > MOST_IDS) throw new Error(`a tile counts ${MOST_IDS} ids at most, not ${numIds}`);
  const tiles = Math.ceil(size / TILE);
  const counts = gpu.allocate([numIds, tiles], 'int32');
  const parameters = { size, tiles, ids: numIds, per_mask: mask?.perValue ?? 0 };
  gpu.run(countTile, [ids, mask?.values ?? ids, counts], parameters, tiles);
  return counts;
}
