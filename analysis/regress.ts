// Linear regression without coefficients: an orthonormal basis of what is to be explained away, and what is left of a vector.
// Shapes: vectors [m].

/** Below this share of its length a vector counts as nothing: rounding leaves 1e-16. */
const NOTHING = 1e-10;

/** Gram–Schmidt over a constant and these vectors; vectors that depend on earlier ones are left out. [m] `length` of each. */
export function basisOf(vectors: readonly ArrayLike<number>[], length: number): Float64Array[] {
  const basis: Float64Array[] = [];
  for (const vector of [new Float64Array(length).fill(1), ...vectors]) {
    const left = rest(vector, basis);
    if (left) basis.push(left.map(value => value / Math.sqrt(dot(left, left))));
  }
  return basis;
}

/** What a basis leaves of x, or null if that is nothing but rounding. Projected twice, against rounding. */
export function rest(x: ArrayLike<number>, basis: readonly Float64Array[]): Float64Array | null {
  const left = Float64Array.from(x);
  const whole = dot(left, left);
  for (let pass = 0; pass < 2; pass++) {
    for (const u of basis) {
      const along = dot(left, u);
      for (let i = 0; i < left.length; i++) left[i] -= along * u[i];
    }
  }
  return dot(left, left) > NOTHING ** 2 * whole ? left : null;
}

/** Length of what a basis leaves of x. */
export function restLength(x: Float64Array, basis: readonly Float64Array[]): number {
  let left = dot(x, x);
  for (const u of basis) left -= dot(x, u) ** 2;
  return Math.sqrt(Math.max(left, 0));
}

export function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}
