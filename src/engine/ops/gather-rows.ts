// Row gather whose gradient is a gather too.
import { gatherRowsReference } from '../reference/gather-rows.ts';
import type { Tensor2D } from '../tf.ts';

/** y[j] = x[index[j]]; index −1 gives a zero row. Serves permute and un-permute.
 *  `inverse_NR` lists, for each source row n, the R places j that read it (−1 fills up), so that the gradient is
 *  dx[n] = Σ_r dy[inverse[n, r]], summed in that order. Permute (each token used k times): R = k, inverse_TK.
 *  Un-permute (each row used once): R = 1. Left out, it is built from `index_M`. */
export function gatherRows(x_ND: Tensor2D, index_M: Int32Array, _inverse_NR?: Int32Array): Tensor2D {
  return gatherRowsReference(x_ND, index_M);
}
