// Σ x² of a whole tensor, for clipping gradients by their norm. Not differentiable.
import '../host/adamw.ts';
import { hasKernel, runKernel } from '../kernel.ts';
import type { Scalar, Tensor } from '../tf.ts';
import { tf } from '../tf.ts';

export function sumOfSquares(x: Tensor): Scalar {
  if (hasKernel('MoeSumOfSquares')) return runKernel('MoeSumOfSquares', { x })[0] as Scalar;
  return tf.tidy(() => tf.sum(tf.square(x)) as Scalar);
}
