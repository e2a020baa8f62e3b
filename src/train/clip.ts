// Clipping by the global norm (Pascanu et al. 2013): g ← g · c / ‖g‖ when ‖g‖ > c, over all gradients together.
// A norm that is NaN or infinite is reported with the names at fault and nothing is scaled: the caller must stop.
import { sumOfSquares } from '../engine/ops/sum-of-squares.ts';
import type { Scalar, Tensor } from '../engine/tf.ts';
import { tf } from '../engine/tf.ts';

export interface Clipped {
  /** Global L2 norm before clipping; NaN or infinite when a gradient is. */
  norm: number;
  /** What the gradients were multiplied by: 1 when the norm was within the limit. */
  scale: number;
  /** Names whose gradient is not finite, in the order of the map. */
  nonFinite: string[];
}

/**
 * Clips `gradients` to `maxNorm`. Only above it are the map's tensors replaced by scaled ones (the old are disposed);
 * otherwise every bit stays. The sum over parameters is taken in float64 on the host, in the order of the map.
 */
export async function clipGradients(gradients: Map<string, Tensor>, maxNorm: number): Promise<Clipped> {
  const squares = await sumsOfSquares([...gradients.values()]);
  const nonFinite = [...gradients.keys()].filter((_, index) => !Number.isFinite(squares[index]));
  const norm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  if (!Number.isFinite(norm) || norm <= maxNorm) return { norm, scale: 1, nonFinite };
  const scale = maxNorm / norm;
  for (const [name, gradient] of gradients) {
    gradients.set(name, tf.mul(gradient, scale));
    gradient.dispose();
  }
  return { norm, scale, nonFinite };
}

/** One read from the device for all of them. */
async function sumsOfSquares(tensors: Tensor[]): Promise<number[]> {
  if (tensors.length === 0) return [];
  const stacked = tf.tidy(() => tf.stack(tensors.map(tensor => sumOfSquares(tensor) as Scalar)));
  const sums = await stacked.data();
  stacked.dispose();
  return [...sums];
}
