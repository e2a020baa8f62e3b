// Linear map with one weight per expert segment of rows.
import { groupedLinearReference } from '../reference/grouped-linear.ts';
import type { Tensor2D } from '../tf.ts';

/** Rows offsets[e]..offsets[e+1] of x_ND times w[e]ᵀ. Segments may be empty (their weight gradient is zero). */
export function groupedLinear(x_ND: Tensor2D, w_EFD: Tensor2D[], offsets_E1: Int32Array): Tensor2D {
  return groupedLinearReference(x_ND, w_EFD, offsets_E1);
}
