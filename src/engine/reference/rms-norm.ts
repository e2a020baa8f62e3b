// Plain-tfjs RMSNorm (Zhang and Sennrich 2019, eq. 4): y = w ⊙ x / √(mean(x²) + ε), row by row.
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

export function rmsNormReference(x_TD: Tensor2D, weight_D: Tensor1D, epsilon: number): Tensor2D {
  const scale_T1 = tf.rsqrt(tf.add(tf.mean(tf.square(x_TD), 1, true), epsilon));
  return tf.mul(tf.mul(x_TD, scale_T1), weight_D);
}
