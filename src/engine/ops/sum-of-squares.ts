// Σ x² of whole tensors, for clipping gradients by their norm. Not differentiable.
import '../fast/sum-of-squares.ts';
import { hasKernel, runKernel } from '../kernel.ts';
import type { Tensor, Tensor1D } from '../tf.ts';
import { tf } from '../tf.ts';

/** [n] from n ≥ 1 tensors of any shapes: one number each. */
export function sumsOfSquares(tensors: readonly Tensor[]): Tensor1D {
  if (!hasKernel('MoeSumsOfSquares'))
    return tf.tidy(() => tf.stack(tensors.map(x => tf.sum(tf.square(x)))) as Tensor1D);
  const named = Object.fromEntries(tensors.map((x, i) => [`x${i}`, x]));
  return runKernel('MoeSumsOfSquares', named)[0] as Tensor1D;
}
