// Clipping by the global norm (Pascanu et al. 2013): g ← g · c / ‖g‖ when ‖g‖ > c, over all gradients together. Only the
// factor is found here; the optimizer multiplies by it on the way, so that no second set of gradients is written.
// A norm that is NaN or infinite is reported with the names at fault: the caller must stop.
import { sumsOfSquares } from '../engine/ops/sum-of-squares.ts';
import type { Tensor } from '../engine/tf.ts';

export interface Clipping {
  /** Global L2 norm of the gradients as they are; NaN or infinite when one of them is. */
  norm: number;
  /** What the gradients are to be multiplied by: 1 when the norm is within the limit, or not finite. */
  scale: number;
  /** Names whose gradient is not finite, in the order of the map. */
  nonFinite: string[];
}

/** How to clip `gradients` to `maxNorm`. The sum over parameters is taken in float64, in the order of the map. */
export async function measureClipping(gradients: ReadonlyMap<string, Tensor>, maxNorm: number): Promise<Clipping> {
  const squares = await readSums([...gradients.values()]);
  const nonFinite = [...gradients.keys()].filter((_, index) => !Number.isFinite(squares[index]));
  const norm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  return { norm, scale: Number.isFinite(norm) && norm > maxNorm ? maxNorm / norm : 1, nonFinite };
}

/** One read from the device for all of them. */
async function readSums(tensors: Tensor[]): Promise<number[]> {
  if (tensors.length === 0) return [];
  const sums = sumsOfSquares(tensors);
  const values = await sums.data();
  sums.dispose();
  return [...values];
}
