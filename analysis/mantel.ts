// Mantel (1967): do two distance matrices over the same n languages agree? r = Pearson correlation over the n(n−1)/2 pairs;
// p = share of relabellings of the first matrix with r at least as large (one-sided: nearer in one, nearer in the other).
// Partial Mantel (Smouse, Long and Sokal 1986): the same after both are regressed on control distances, anew in each relabelling.
// Shapes: matrices [n · n], symmetric; pairs in the order (0,1), (0,2) … (n−2, n−1).
import { basisOf, dot, rest } from './regress.ts';
import { shuffle } from './shuffle.ts';

export interface MantelOptions {
  /** Random relabellings; all n! are taken instead where they are fewer (n ≤ 7 at 9,999). Default 9,999. */
  permutations?: number;
  /** Numbers in [0, 1). */
  random: () => number;
}

export interface MantelResult {
  /** NaN where a matrix is constant, or explained by the controls altogether. */
  r: number;
  /** (1 + #{relabelled r ≥ r}) / (1 + permutations); exact where all relabellings were taken. */
  p: number;
  /** The same against the largest r of all `tested` matrices: p of this one among them, family-wise. */
  familyWise: number;
  permutations: number;
}

/** Equal relabellings differ in the last bits and count as reached. */
const ROUNDING = 1e-10;

/**
 * One result per matrix of `tested` (layers, say) against `target`, given `controls` (none: plain Mantel). All share the
 * relabellings. Fewer than 3 languages: r and p are NaN.
 */
export function mantel(
  tested: ArrayLike<number>[],
  target: ArrayLike<number>,
  n: number,
  controls: ArrayLike<number>[],
  { permutations = 9999, random }: MantelOptions,
): MantelResult[] {
  const basis = basisOf(
    controls.map(control => pairs(control, n)),
    (n * (n - 1)) / 2,
  );
  const residual = n < 3 ? null : rest(pairs(target, n), basis);
  const left = residual && scaled(residual);
  const centred = tested.map(matrix => {
    const varying = rest(pairs(matrix, n), basis) && rest(pairs(matrix, n), basis.slice(0, 1));
    return varying && square(scaled(varying), n);
  });
  const correlation = (matrix: Float64Array | null, order: ArrayLike<number>) =>
    left && matrix ? relabelled(matrix, n, order, left, basis.slice(1)) : Number.NaN;
  const asGiven = Int32Array.from({ length: n }, (_, i) => i);
  const r = centred.map(matrix => correlation(matrix, asGiven));
  const reached = tested.map(() => ({ alone: 0, any: 0 }));
  const all = factorial(n) <= permutations + 1;
  let drawn = 0;
  for (const order of all ? everyOrder(n) : randomOrders(n, permutations, random)) {
    drawn++;
    const values = centred.map(matrix => correlation(matrix, order));
    const largest = Math.max(...values.filter(value => !Number.isNaN(value)));
    for (const [i, value] of values.entries()) {
      if (value >= r[i] - ROUNDING) reached[i].alone++;
      if (largest >= r[i] - ROUNDING) reached[i].any++;
    }
  }
  const one = all ? 0 : 1;
  const p = (count: number) => (count + one) / (drawn + one);
  return r.map((value, i) => {
    const none = Number.isNaN(value);
    return {
      r: value,
      p: none ? value : p(reached[i].alone),
      familyWise: none ? value : p(reached[i].any),
      permutations: drawn,
    };
  });
}

/**
 * Partial correlation with a unit residual of a centred matrix of unit length, relabelled: relabelling changes neither its mean
 * nor its length, only what the controls (an orthonormal basis) take of it.
 */
function relabelled(
  matrix: Float64Array,
  n: number,
  order: ArrayLike<number>,
  residual: Float64Array,
  controls: Float64Array[],
): number {
  const x = new Float64Array(residual.length);
  let along = 0;
  for (let i = 0, at = 0; i < n; i++) {
    const row = order[i] * n;
    for (let j = i + 1; j < n; j++, at++) {
      x[at] = matrix[row + order[j]];
      along += x[at] * residual[at];
    }
  }
  const taken = controls.reduce((sum, u) => sum + dot(x, u) ** 2, 0);
  return 1 - taken < ROUNDING ? Number.NaN : along / Math.sqrt(1 - taken);
}

/** Upper triangle of a matrix. */
function pairs(matrix: ArrayLike<number>, n: number): Float64Array {
  const list = new Float64Array((n * (n - 1)) / 2);
  for (let i = 0, at = 0; i < n; i++) for (let j = i + 1; j < n; j++) list[at++] = matrix[i * n + j];
  return list;
}

/** The symmetric matrix of an upper triangle, 0 on the diagonal. */
function square(list: Float64Array, n: number): Float64Array {
  const matrix = new Float64Array(n * n);
  for (let i = 0, at = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, at++) {
      matrix[i * n + j] = list[at];
      matrix[j * n + i] = list[at];
    }
  }
  return matrix;
}

function scaled(x: Float64Array): Float64Array {
  const length = Math.sqrt(dot(x, x));
  return x.map(value => value / length);
}

const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1));

function* randomOrders(n: number, draws: number, random: () => number): Generator<Int32Array> {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let draw = 0; draw < draws; draw++) {
    shuffle(order, random);
    yield order;
  }
}

function* everyOrder(n: number, taken: number[] = []): Generator<number[]> {
  if (taken.length === n) yield taken;
  for (let i = 0; i < n; i++) if (!taken.includes(i)) yield* everyOrder(n, [...taken, i]);
}
