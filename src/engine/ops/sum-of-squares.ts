// Σ x², for gradient clipping.
import type { Scalar, Tensor } from '../tf.ts';
import { tf } from '../tf.ts';

export function sumOfSquares(x: Tensor): Scalar {
  return tf.tidy(() => tf.sum(tf.square(x)) as Scalar);
}
