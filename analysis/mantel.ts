// Mantel (1967): do two distance matrices over the same n languages agree? r = Pearson correlation over the n(n−1)/2 pairs;
// p = share of relabellings of the first matrix with r at least as large (one-sided: nearer in one, nearer in the other).
// Partial Mantel (Smouse, Long and Sokal 1986): the same after both are regressed on control distances, anew in each relabelling.
// Shapes: matrices [n · n], symmetric; pairs in the order (0,1), (0,2) … (n−2, n−1).
import { basisOf, dot, rest, restLength } from './regress.ts';
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
  const residual = rest(pairs(target, n), basis);
  const observed = tested.map(matrix => rest(pairs(matrix, n), basis));
  const correlation = (x: Float64Array) => {
    const length = restLength(x, basis);
    if (!residual || length < ROUNDING) return Number.NaN;
    return dot(x, residual) / (length * Math.sqrt(dot(residual, residual)));
  };
  const r = observed.map(left => (n < 3 || left === null ? Number.NaN : correlation(left)));
  const reached = tested.map(() => ({ alone: 0, any: 0 }));
  const all = factorial(n) <= permutations + 1;
  let drawn = 0;
  for (const order of all ? everyOrder(n) : randomOrders(n, permutations, random)) {
    drawn++;
    const values = tested.map((matrix, i) => (Number.isNaN(r[i]) ? r[i] : correlation(pairs(matrix, n, order))));
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

/** Upper triangle of a matrix, its rows and columns taken in `order`. */
function pairs(matrix: ArrayLike<number>, n: number, order?: ArrayLike<number>): Float64Array {
  const list = new Float64Array((n * (n - 1)) / 2);
  let at = 0;
  for (let i = 0; i < n; i++) {
    const row = (order ? order[i] : i) * n;
    for (let j = i + 1; j < n; j++) list[at++] = matrix[row + (order ? order[j] : j)];
  }
  return list;
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
