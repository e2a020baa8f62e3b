// Early, middle and late MoE layers, fixed before looking at the data: the first quarter, the half between and the last quarter,
// whole layers only; thirds for fewer than eight MoE layers. The paper's own "end" is the last two layers.
// A model whose MoE layers do not reach from its first to its last third has no depth to compare (Post-MoE).
import type { TraceHeader } from '../routing/trace.ts';

/** Indices into header.moeLayers, ascending and disjoint. */
export interface Bands {
  early: number[];
  middle: number[];
  late: number[];
}

/** Bands of L MoE layers, L ≥ 3. `last-two` keeps early, and middle as far as it does not reach into the last two. */
export function bandsOf(L: number, end: 'quarter' | 'last-two' = 'quarter'): Bands {
  const size = L < 8 ? Math.floor(L / 3) : Math.floor(L / 4);
  const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  const start = end === 'last-two' ? Math.max(L - 2, size + 1) : L - size;
  return { early: range(0, size), middle: range(size, Math.min(L - size, start)), late: range(start, L) };
}

/** Why depth cannot be judged in this model; null if it can. */
export function noDepth({ moeLayers, numLayers }: Pick<TraceHeader, 'moeLayers' | 'numLayers'>): string | null {
  const [first, last] = [moeLayers[0], moeLayers[moeLayers.length - 1]];
  if (moeLayers.length === 0) return 'the trace names no MoE layer';
  const where = moeLayers.length === 1 ? `layer ${first} alone` : `layers ${first} to ${last} alone`;
  if (first >= numLayers / 3) {
    return `only the end of the model routes (${where}, of ${numLayers}), so there are no early layers to compare with`;
  }
  if (last < (numLayers * 2) / 3 - 1) {
    return `only the beginning of the model routes (${where}, of ${numLayers}), so there are no late layers to compare with`;
  }
  if (moeLayers.length < 3)
    return `the model has ${moeLayers.length} MoE layers, and early, middle and late need three`;
  return null;
}
