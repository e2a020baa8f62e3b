// RMSNorm.
import { rmsNormReference } from '../reference/rms-norm.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';

export function rmsNorm(x_TD: Tensor2D, weight_D: Tensor1D, epsilon: number): Tensor2D {
  return rmsNormReference(x_TD, weight_D, epsilon);
}
