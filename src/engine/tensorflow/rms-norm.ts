// RMSNorm for TensorFlow. y = w ⊙ n with n = x r, r = 1 / √(mean(x²) + ε).
// dx = r (w ⊙ dy − n mean(w ⊙ dy ⊙ n)); dw = Σ_t dy ⊙ n. Kernels as in fast/rms-norm.ts.

import type { RmsNormAttributes } from '../fast/rms-norm.ts';
import { type Tensor, tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';

const scaleOf = (x: Tensor, epsilon: number): Tensor => tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), epsilon));

registerTensorflow<RmsNormAttributes>('MoeRmsNorm', ({ x, weight }, { epsilon }) => [
  tf.mul(tf.mul(x, scaleOf(x, epsilon)), weight),
]);

registerTensorflow<RmsNormAttributes>('MoeRmsNormGrad', ({ x, weight, gradient }, { epsilon }) => {
  const scale_T1 = scaleOf(x, epsilon);
  const normed = tf.mul(x, scale_T1);
  const along = tf.mul(gradient, normed);
  const share_T1 = tf.mean(tf.mul(along, weight), 1, true);
  const dx = tf.mul(scale_T1, tf.sub(tf.mul(gradient, weight), tf.mul(normed, share_T1)));
  return [dx, tf.sum(along, 0)];
});
