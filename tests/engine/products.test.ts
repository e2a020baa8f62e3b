// The matrix products in every build that runs here, against sums in double precision: all transposes, bias,
// accumulation, batches, groups with empty experts; sizes 0, 1, odd, those of tiles ± 1, above the block of k and above
// the rows that share a packed B. The bound is that of a sum of k products in fp32, (k + 4) 2⁻²⁴ Σ|a b|.
// And their promise: an element's bits depend on nothing but its row and column, so not on threads or on other rows.
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Library } from '../../src/engine/library/library.ts';
import { libraries } from './builds.ts';
import { generator } from './judge.ts';

afterAll(() => {
  for (const [, library] of libraries) library.setThreads(1);
});

/** c = op(a) op(b), of m rows, n columns and k terms. */
interface Shape {
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
}
/** A product and what is added to it. Without `before` the result starts as NaN and must be written whole. */
interface Product extends Shape {
  a: Float32Array;
  b: Float32Array;
  bias?: Float32Array;
  before?: Float32Array;
  batch?: number;
}

const draw = (next: () => number, length: number): Float32Array => Float32Array.from({ length }, next);

/** Runs `body` on arrays of the library, filled from `given` (a number: so many NaNs), and answers copies of all. */
function onArrays(library: Library, given: (Float32Array | number)[], body: (arrays: Float32Array[]) => void) {
  const arrays = given.map(values => {
    const array = library.allocate(typeof values === 'number' ? values : values.length);
    if (typeof values === 'number') array.fill(Number.NaN);
    else array.set(values);
    return array;
  });
  body(arrays);
  const copies = arrays.map(array => array.slice());
  for (const array of arrays) library.free(array);
  return copies;
}

function multiply(library: Library, product: Product): Float32Array {
  const { m, n, k, a, b, bias, before, transposeA = false, transposeB = false, batch = 1 } = product;
  const given = [before ?? batch * m * n, a, b, bias ?? 0];
  return onArrays(library, given, ([c, left, right, offset]) => {
    const sizes = [batch, m, n, k, transposeA, transposeB, before !== undefined];
    library.call('gemm', [left, right, c, bias ? offset : 0, ...sizes]);
  })[0];
}

/** The largest error of c[i, j] in units of its bound, where `added` gives what is added to the product. */
function worst(c: Float32Array, product: Shape & Pick<Product, 'a' | 'b'>, added: (i: number, j: number) => number[]) {
  const { m, n, k, a, b, transposeA, transposeB } = product;
  let largest = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const terms = added(i, j);
      let sum = terms.reduce((x, y) => x + y, 0);
      let size = terms.reduce((x, y) => x + Math.abs(y), 0);
      for (let p = 0; p < k; p++) {
        const term = a[transposeA ? p * m + i : i * k + p] * b[transposeB ? j * k + p : p * n + j];
        sum += term;
        size += Math.abs(term);
      }
      const error = Math.abs(c[i * n + j] - sum);
      if (error !== 0)
        largest = Math.max(largest, Number.isNaN(error) ? Infinity : error / ((k + 4) * 2 ** -24 * size));
    }
  }
  return largest;
}

/** Makes operands, multiplies them on one, two and three threads, and compares. */
function check(
  library: Library,
  shape: Shape & { batch: number; withBias: boolean; accumulate: boolean; seed: number },
) {
  const { batch, m, n, k } = shape;
  const next = generator(shape.seed);
  const [a, b] = [draw(next, batch * m * k), draw(next, batch * k * n)];
  const bias = shape.withBias ? draw(next, n) : undefined;
  const before = shape.accumulate ? draw(next, batch * m * n) : undefined;
  const [c, ...others] = [1, 2, 3].map(threads => {
    library.setThreads(threads);
    return multiply(library, { ...shape, a, b, bias, before });
  });
  for (const other of others) expect(other, 'the same bits on more threads').toEqual(c);
  for (let i = 0; i < batch; i++) {
    const part = (values: Float32Array, size: number) => values.subarray(i * size, (i + 1) * size);
    const operands = { ...shape, a: part(a, m * k), b: part(b, k * n) };
    const added = (row: number, column: number) => [
      bias ? bias[column] : 0,
      before ? before[(i * m + row) * n + column] : 0,
    ];
    expect(worst(part(c, m * n), operands, added)).toBeLessThanOrEqual(1);
  }
}

const EDGES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 95, 97, 129];
const edge = fc.constantFrom(...EDGES);
const flags = { transposeA: fc.boolean(), transposeB: fc.boolean(), withBias: fc.boolean(), accumulate: fc.boolean() };
const seed = fc.integer({ min: 1, max: 2 ** 30 });
const turns = [false, true].flatMap(transposeA => [false, true].map(transposeB => ({ transposeA, transposeB })));

describe.each(libraries)('%s', (_, library) => {
  it('products of random shapes', () => {
    const shapes = fc.record({ m: edge, n: edge, k: edge, batch: fc.constantFrom(0, 1, 1, 1, 3), seed, ...flags });
    fc.assert(
      fc.property(shapes, shape => check(library, shape)),
      { numRuns: 80, seed: 5 },
    );
  });

  it.each([
    [1, 70, 1100],
    [2, 40, 1024],
    [70, 1, 515],
    [3, 2100, 40],
    [25, 300, 257],
    [193, 40, 300],
    [700, 9, 257],
    [400, 70, 20],
  ])('few rows, tall, wide and deep: m %i, n %i, k %i', (m, n, k) => {
    turns.forEach((turn, i) => {
      check(library, { m, n, k, ...turn, batch: 1, withBias: i % 2 === 0, accumulate: i > 1, seed: m + n + k });
    });
  });

  it.each(turns)('a row has the same bits alone and beside any number of others, $transposeA $transposeB', turn => {
    const [n, k] = [75, 300];
    const next = generator(7);
    const [rows, b, bias] = [draw(next, 400 * k), draw(next, k * n), draw(next, n)];
    const transposed = (m: number) =>
      Float32Array.from({ length: m * k }, (_, at) => rows[(at % m) * k + Math.floor(at / m)]);
    const run = (m: number) => {
      const a = turn.transposeA ? transposed(m) : rows.subarray(0, m * k);
      return multiply(library, { m, n, k, a, b, bias, ...turn });
    };
    const all = run(400);
    for (const m of [1, 2, 3, 4, 6, 7, 12, 13, 16, 17, 40, 64, 65, 192, 193]) {
      expect(run(m), `${m} rows`).toEqual(all.subarray(0, m * n));
    }
  });

  it('a product worked by hand', () => {
    const [a, b] = [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6)];
    const shape = { m: 2, n: 1, k: 2, a, b };
    expect([...multiply(library, { ...shape, bias: Float32Array.of(1) })]).toEqual([18, 40]); // 1·5 + 2·6 + 1, …
    const before = Float32Array.of(18, 40);
    expect([...multiply(library, { ...shape, transposeA: true, before })]).toEqual([41, 74]); // + 1·5 + 3·6, …
  });

  it('without terms a product is zero, the bias, or what was there', () => {
    const none = { m: 2, n: 2, k: 0, a: new Float32Array(0), b: new Float32Array(0) };
    const [bias, before] = [Float32Array.of(1, 2), Float32Array.of(7, 8, 9, 10)];
    expect([...multiply(library, { ...none, bias, before })]).toEqual([8, 10, 10, 12]);
    expect([...multiply(library, { ...none, bias })]).toEqual([1, 2, 1, 2]);
    expect([...multiply(library, none)]).toEqual([0, 0, 0, 0]);
  });

  it.each([
    ['one without rows', [0], 5, 7],
    ['none', [], 5, 7],
    ['some empty', [0, 3, 0, 0, 13, 1, 0], 17, 33],
    ['uneven', [97, 0, 12, 200], 64, 40],
    ['no inputs', [5, 9], 0, 3],
    ['more rows than one block of the sum', [300, 1, 259], 31, 65],
    ['three hundred small ones', Array.from({ length: 300 }, (_, e) => (e * 7) % 4), 5, 9],
    ['more that share packed weights than there are blocks of memory', Array.from({ length: 66 }, () => 193), 3, 2],
  ])('grouped products and their gradients are those of each group, experts: %s', (_name, counts, d, f) => {
    const E = counts.length;
    const offsets = Int32Array.from([0, ...counts]);
    for (let e = 0; e < E; e++) offsets[e + 1] += offsets[e];
    const rows = offsets[E];
    const next = generator(rows + d);
    const [x, dy, w] = [draw(next, rows * d), draw(next, rows * f), counts.map(() => draw(next, d * f))];
    const grouped = (threads: number) => {
      library.setThreads(threads);
      const zeros = counts.map(() => d * f);
      return onArrays(library, [rows * f, rows * d, x, dy, ...w, ...zeros], ([y, dx, inputs, gradients, ...rest]) => {
        const [weights, dw] = [rest.slice(0, E), rest.slice(E)];
        library.call('grouped_gemm', [inputs, weights, offsets, y, E, d, f]);
        library.call('grouped_gemm_input', [gradients, weights, offsets, dx, E, d, f, false]);
        library.call('grouped_gemm_weight', [gradients, inputs, offsets, dw, E, d, f]);
      });
    };
    const got = grouped(1);
    expect(grouped(2), 'the same bits on more threads').toEqual(got);
    const [y, dx, dw] = [got[0], got[1], got.slice(4 + E)];
    counts.forEach((m, e) => {
      const of = (matrix: Float32Array, width: number) => matrix.subarray(offsets[e] * width, offsets[e + 1] * width);
      const forward = { a: of(x, d), b: w[e], m, n: f, k: d, transposeB: true };
      const toInput = { a: of(dy, f), b: w[e], m, n: d, k: f };
      const toWeight = { a: of(dy, f), b: of(x, d), m: f, n: d, k: m, transposeA: true };
      expect(of(y, f)).toEqual(multiply(library, forward));
      expect(of(dx, d)).toEqual(multiply(library, toInput));
      expect(dw[e]).toEqual(multiply(library, toWeight));
      expect(worst(of(y, f), forward, () => [])).toBeLessThanOrEqual(1);
      expect(worst(of(dx, d), toInput, () => [])).toBeLessThanOrEqual(1);
      expect(worst(dw[e], toWeight, () => [])).toBeLessThanOrEqual(1);
    });
  });
});

it('instruction sets with fused multiply-add give the same bits', () => {
  const next = generator(3);
  const [m, n, k] = [211, 150, 700];
  const operands = { m, n, k, a: draw(next, m * k), b: draw(next, k * n), transposeB: true };
  const fused = libraries.filter(([name]) => name === 'native avx512' || name === 'native avx2');
  const results = fused.map(([, library]) => multiply(library, operands));
  for (const result of results) expect(result).toEqual(results[0]);
});
