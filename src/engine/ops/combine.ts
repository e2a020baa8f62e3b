// Weighted sum of expert rows: out[t] = Σ_j gate[t, j] · y[inverse[t, j]].
import { combineReference } from '../reference/gather-rows.ts';
import type { Tensor2D } from '../tf.ts';

/** `inverse_TK` gives the row of y_ND for each slot, −1 for none. Each row of y is read at most once. */
export function combine(y_ND: Tensor2D, inverse_TK: Int32Array, gate_TK: Tensor2D): Tensor2D {
  return combineReference(y_ND, inverse_TK, gate_TK);
}
