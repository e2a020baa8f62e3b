// Linear map in Hugging Face weight layout. y_TF = x_TD w_FDᵀ + bias_F.
import { linearReference } from '../reference/matmul.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';

export function linear(x_TD: Tensor2D, w_FD: Tensor2D, bias_F?: Tensor1D): Tensor2D {
  return linearReference(x_TD, w_FD, bias_F);
}
