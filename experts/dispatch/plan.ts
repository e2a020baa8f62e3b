// The dispatch plan: where each routed slot goes when rows are grouped by expert. Stable counting sort, a pure function of the
// routing: the same integers on every backend. N = T·k slots (slot n is choice n mod k of token ⌊n/k⌋), M ≤ N rows.
//   row of slot n = offsets[e] + rank[n], and in each expert rows keep the order of their slots.

import type { Integers } from '../../src/engine/integers.ts';

/** On a GPU the number of rows M is not known to the host: slot_M and token_M have N places there, −1 beyond the last row. */
export interface DispatchPlan<I extends Integers = Integers> {
  /** [N] place of a slot among its expert's rows, −1 where the slot has no expert (dropped, or expert choice). */
  rank_N: I;
  /** [E+1] expert e owns rows offsets[e] … offsets[e+1]−1. */
  offsets_E1: I;
  /** [N] slot → row, −1 where dropped. */
  inverse_N: I;
  /** [M] row → slot. */
  slot_M: I;
  /** [M] row → token. */
  token_M: I;
}

/** Plans the dispatch of expertId_TK [T·k], ids 0..E−1 or −1 for "no expert". */
export function planDispatch(expertId_TK: Int32Array, k: number, numExperts: number): DispatchPlan<Int32Array> {
  const count_E = new Int32Array(numExperts);
  const rank_N = expertId_TK.map(e => (e < 0 ? -1 : count_E[e]++));
  const offsets_E1 = new Int32Array(numExperts + 1);
  for (let e = 0; e < numExperts; e++) offsets_E1[e + 1] = offsets_E1[e] + count_E[e];
  const inverse_N = expertId_TK.map((e, n) => (e < 0 ? -1 : offsets_E1[e] + rank_N[n]));
  const slot_M = new Int32Array(offsets_E1[numExperts]);
  inverse_N.forEach((row, n) => {
    if (row >= 0) slot_M[row] = n;
  });
  const token_M = slot_M.map(n => Math.floor(n / k));
  return { rank_N, offsets_E1, inverse_N, slot_M, token_M };
}
