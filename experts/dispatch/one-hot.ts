// The GShard way (Lepikhin et al. 2020, arXiv 2006.16668), kept as the baseline: rows move by multiplication with one-hot
// masks. Every expert gets a block of C rows, C the fullest expert's count; the masks are [T, E·C], so cost grows with T².
//   x_blocks = maskᵀ x;   y = (Σ_j gate_j ⊙ mask_j) y_blocks.
import { hostIntegers } from '../../src/engine/integers.ts';
import { matmul } from '../../src/engine/ops/matmul.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import type { DispatchPlan } from './plan.ts';
import type { ApplyExperts } from './tf.ts';

/** Same mixture as dispatchByGather. x_TD [T, D], gate_TK [T, k] → y_TD [T, D]; differentiable in both. */
export function dispatchByOneHot(
  x_TD: Tensor2D,
  gate_TK: Tensor2D,
  plan: DispatchPlan,
  applyExperts: ApplyExperts,
): Tensor2D {
  return tf.tidy(() => {
    const [tokens, k] = gate_TK.shape;
    const { blocks_E1, column_N } = blockLayout(plan);
    const rows = blocks_E1[blocks_E1.length - 1];
    const masks = Array.from({ length: k }, (_, j) => choiceMask(column_N, j, k, tokens, rows));
    const x_RD = matmul(tf.addN(masks) as Tensor2D, x_TD, true, false);
    const y_RD = applyExperts(x_RD, blocks_E1);
    const weighted = masks.map((mask_TR, j) => mask_TR.mul<Tensor2D>(gate_TK.slice([0, j], [tokens, 1])));
    return matmul(tf.addN(weighted) as Tensor2D, y_RD);
  });
}

/** Equal blocks of C rows: expert e owns columns e·C … e·C + C − 1. `column_N` is each slot's column, −1 where dropped. */
function blockLayout(plan: DispatchPlan): { blocks_E1: Int32Array; column_N: Int32Array } {
  const [offsets_E1, slot_M, inverse_N] = [plan.offsets_E1, plan.slot_M, plan.inverse_N].map(hostIntegers);
  const count_E = offsets_E1.subarray(1).map((end, e) => end - offsets_E1[e]);
  const capacity = Math.max(1, ...count_E);
  const blocks_E1 = offsets_E1.map((_, e) => e * capacity);
  const column_N = inverse_N.map(() => -1);
  count_E.forEach((count, e) => {
    for (let rank = 0; rank < count; rank++) column_N[slot_M[offsets_E1[e] + rank]] = blocks_E1[e] + rank;
  });
  return { blocks_E1, column_N };
}

/** [T, R] with a 1 where token t's choice j sits. */
function choiceMask(column_N: Int32Array, j: number, k: number, tokens: number, rows: number): Tensor2D {
  const mask_TR = new Float32Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    const column = column_N[t * k + j];
    if (column >= 0) mask_TR[t * rows + column] = 1;
  }
  return tf.tensor2d(mask_TR, [tokens, rows]);
}
