// Dropless dispatch on tfjs tensors: permute rows by gather, run every expert on its own segment, combine by gather.
// The gradients are gathers too (the plan knows both directions), so nothing is ever added in an order that depends on threads.
//   x_MD = x_TD[token_M];   y_MD = experts(x_MD, offsets);   y_t = Σ_j gate[t, j] · y_MD[inverse[t, j]], in the order of j.

import type { Integers } from '../../src/engine/integers.ts';
import { combine } from '../../src/engine/ops/combine.ts';
import { gatherRows } from '../../src/engine/ops/gather-rows.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import type { DispatchPlan } from './plan.ts';

/** Runs expert e on rows offsets[e] … offsets[e+1]−1; [M, D] → [M, D]. */
export type ApplyExperts = (rows_MD: Tensor2D, offsets_E1: Integers) => Tensor2D;

/** The mixture y_TD of x_TD [T, D] with gate_TK [T, k]; differentiable in both. Dropped slots add nothing. */
export function dispatchByGather(
  x_TD: Tensor2D,
  gate_TK: Tensor2D,
  plan: DispatchPlan,
  applyExperts: ApplyExperts,
): Tensor2D {
  return tf.tidy(() => {
    const x_MD = gatherRows(x_TD, plan.token_M, plan.inverse_N);
    const y_MD = applyExperts(x_MD, plan.offsets_E1);
    return combine(y_MD, plan.inverse_N, gate_TK, plan.slot_M);
  });
}
