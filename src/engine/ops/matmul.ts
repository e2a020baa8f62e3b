// Matrix product.
import { matmulReference } from '../reference/matmul.ts';
import type { Tensor2D } from '../tf.ts';

/** a b, with either operand transposed on request. */
export function matmul(a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D {
  return matmulReference(a, b, transposeA, transposeB);
}
