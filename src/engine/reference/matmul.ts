// Plain-tfjs matrix product and linear map. y_TF = x_TD w_FDᵀ + bias_F.
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

export const matmulReference = (a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D =>
  tf.matMul(a, b, transposeA, transposeB);

export function linearReference(x_TD: Tensor2D, w_FD: Tensor2D, bias_F?: Tensor1D): Tensor2D {
  const y_TF: Tensor2D = tf.matMul(x_TD, w_FD, false, true);
  return bias_F ? tf.add(y_TF, bias_F) : y_TF;
}
