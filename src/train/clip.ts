// Clipping by the global norm (Pascanu et al. 2013): g ← g · c / ‖g‖ when ‖g‖ > c, over all gradients together. Only the
// factor is found here; the optimizer multiplies by it on the way, so that no second set of gradients is written.
// A norm that is NaN or infinite is reported with the names at fault: the caller must stop.

export interface Clipping {
  /** Global L2 norm of the gradients as they are; NaN or infinite when one of them is. */
  norm: number;
  /** What the gradients are to be multiplied by: 1 when the norm is within the limit, or not finite. */
  scale: number;
  /** Names whose gradient is not finite, in the order given. */
  nonFinite: string[];
}

/** How to clip the gradients of these names and sums of squares (src/engine/ops/sum-of-squares.ts) to `maxNorm`.
 *  The sum over parameters is taken in float64, in the order given. */
export function clippingOf(names: readonly string[], squares: ArrayLike<number>, maxNorm: number): Clipping {
  const nonFinite = names.filter((_, index) => !Number.isFinite(squares[index]));
  const norm = Math.sqrt(Array.from(squares).reduce((sum, square) => sum + square, 0));
  return { norm, scale: Number.isFinite(norm) && norm > maxNorm ? maxNorm / norm : 1, nonFinite };
}
