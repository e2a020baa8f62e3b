// The C kernels that are neither products nor attention, in every build that runs here, against loops in double
// precision: sizes 0, 1, odd, those of vectors ± 1, and some that are cut into several tasks; the same bits on one, two
// and three threads. e^x and ln x over the whole range of fp32, by their distance in units of the last place.
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Library } from '../../src/engine/library/library.ts';
import { libraries } from './builds.ts';
import { crossEntropy64, gather64, rmsNorm64, swiglu64, type Values } from './float64.ts';
import { expectClose, generator } from './judge.ts';

type Argument = number | Int32Array | Float32Array | Result;
/** An array that a kernel writes, or changes where `before` is given. */
interface Result {
  length: number;
  before?: Float32Array;
}

/** Runs a kernel on one, two and three threads, on arrays full of NaN where it writes, and answers what it wrote. */
function run(library: Library, kernel: string, args: Argument[]): Float32Array[] {
  const [first, ...others] = [1, 2, 3].map(threads => {
    library.setThreads(threads);
    const floats = args.map(arg => {
      if (typeof arg === 'number' || arg instanceof Int32Array) return null;
      const values = library.allocate(arg.length);
      values.set(arg instanceof Float32Array ? arg : (arg.before ?? new Float32Array(arg.length).fill(Number.NaN)));
      return values;
    });
    library.call(
      kernel,
      args.map((arg, i) => floats[i] ?? (arg as number | Int32Array)),
    );
    const written = floats.filter((_, i) => isResult(args[i])).map(values => values!.slice());
    for (const values of floats) if (values) library.free(values);
    return written;
  });
  for (const other of others) expect(other, `${kernel}: the same bits on more threads`).toEqual(first);
  return first;
}

const isResult = (arg: Argument): arg is Result => typeof arg === 'object' && !ArrayBuffer.isView(arg);
const result = (length: number): Result => ({ length });
const changed = (before: Float32Array): Result => ({ length: before.length, before });

type Draw = (length: number, scale?: number) => Float32Array;
/** Random floats that differ from call to call, and integers lowest … end − 1. */
function drawing(seed: number): { floats: Draw; ints: (length: number, lowest: number, end: number) => Int32Array } {
  const next = generator(seed);
  return {
    floats: (length, scale = 1) => Float32Array.from({ length }, () => scale * next()),
    ints: (length, lowest, end) =>
      Int32Array.from({ length }, () => Math.min(end - 1, lowest + Math.floor(((next() + 2) / 4) * (end - lowest)))),
  };
}
const wide = (values: ArrayLike<number>): Values => Float64Array.from(values);
const sum = (values: Values): number => values.reduce((total, value) => total + value, 0);
/** f at each row and column, row by row. */
const table = (rows: number, columns: number, f: (row: number, column: number) => number): Values =>
  Float64Array.from({ length: rows * columns }, (_, i) => f(Math.floor(i / columns), i % columns));

const length = fc.constantFrom(0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 16383, 16385, 33000);
const few = fc.constantFrom(0, 1, 2, 3, 5, 17);
const width = fc.constantFrom(1, 2, 3, 5, 7, 9, 15, 16, 17, 33, 257);
const tall = fc.constantFrom(1, 70, 300);
const seed = fc.integer({ min: 1, max: 2 ** 30 });
const RUNS = { numRuns: 10, seed: 11 };
const TOLERANCE = 2e-6;

function check(library: Library, kernel: string, args: Argument[], wanted: ArrayLike<number>[], tolerance = TOLERANCE) {
  const got = run(library, kernel, args);
  expect(got.length).toBe(wanted.length);
  wanted.forEach((want, i) => {
    expectClose(`${kernel}, result ${i}`, got[i], want, tolerance);
  });
}

/** Every 99991st pattern of bits, infinities and NaN among them. */
const spectrum = Float32Array.from({ length: Math.ceil(2 ** 32 / 99991) }, (_, i) => floatOf(i * 99991));
const EXTREMES = Float32Array.of(
  0,
  -0,
  Infinity,
  -Infinity,
  Number.NaN,
  1,
  -1,
  1e-45,
  88.722,
  88.723,
  -87.336,
  -87.337,
);

function floatOf(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

/** |got − want| in units of the last place of want as an fp32 number. */
const ulps = (got: number, want: number): number =>
  Math.abs(got - want) / 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(want)))) - 23);

describe.each(libraries)('%s', (_, library) => {
  afterAll(() => void library.setThreads(1));

  /** Numbers of the spectrum for which the kernel is further than `limit` ulp from what is wanted. */
  function wrong(kernel: string, f: (x: number) => number, limit: number): number[] {
    const numbers = Float32Array.of(...EXTREMES, ...spectrum);
    const [got] = run(library, kernel, [numbers, result(numbers.length), numbers.length]);
    const close = (y: number, want: number): boolean =>
      Number.isFinite(want) && want !== 0 ? ulps(y, want) < limit : Object.is(y, want);
    return [...numbers.filter((x, i) => !close(got[i], f(x)))];
  }

  it('e^x within 2 ulp, 0 where it is subnormal, infinite above the largest number', () => {
    const lowest = -87.33654022216797; // the last number whose e^x is no smaller than 2⁻¹²⁶
    const want = (x: number): number => (x < lowest ? 0 : Math.exp(x) >= 2 ** 128 ? Infinity : Math.exp(x));
    expect(wrong('exponential_each', want, 2)).toEqual([]);
  });

  it('ln x within 1 ulp, −∞ at 0, NaN below', () => {
    expect(wrong('logarithm_each', Math.log, 1)).toEqual([]);
  });

  it('arithmetic on equal shapes, and on a matrix and one row, one column or one number', () => {
    const operators: [string, (a: number, b: number) => number][] = [
      ['add', (a, b) => a + b],
      ['subtract', (a, b) => a - b],
      ['multiply', (a, b) => a * b],
      ['divide', (a, b) => a / b],
    ];
    const steps = fc.constantFrom('matrix', 'row', 'column', 'number');
    fc.assert(
      fc.property(
        fc.constantFrom(...operators),
        tall,
        width,
        steps,
        steps,
        seed,
        ([kernel, f], rows, columns, a, b, s) => {
          const { floats } = drawing(s);
          const walk = { matrix: [columns, 1], row: [0, 1], column: [1, 0], number: [0, 0] };
          const [x, y] = [floats(rows * columns), floats(rows * columns).map(value => value + Math.sign(value))];
          const at = (values: Float32Array, [row, column]: number[], r: number, c: number) =>
            values[r * row + c * column];
          const want = table(rows, columns, (r, c) => f(at(x, walk[a], r, c), at(y, walk[b], r, c)));
          check(library, kernel, [x, y, result(want.length), rows, columns, ...walk[a], ...walk[b]], [want]);
        },
      ),
      RUNS,
    );
    fc.assert(
      fc.property(fc.constantFrom(...operators), length, seed, ([kernel, f], n, s) => {
        const { floats } = drawing(s);
        const [x, y] = [floats(n), floats(n).map(value => value + Math.sign(value))];
        check(library, kernel, [x, y, result(n), 1, n, 0, 1, 0, 1], [wide(x).map((value, i) => f(value, y[i]))]);
      }),
      RUNS,
    );
  });

  it('SwiGLU and its gradient', () =>
    fc.assert(
      fc.property(length, seed, (n, s) => {
        const { floats } = drawing(s);
        const [g, u, dy] = [floats(n, 4), floats(n), floats(n)];
        check(library, 'swiglu', [g, u, result(n), n], [swiglu64(wide(g), wide(u))]);
        const sigmoid = wide(g).map(value => 1 / (1 + Math.exp(-value)));
        const slope = sigmoid.map((value, i) => value * (1 + g[i] * (1 - value)));
        const dg = slope.map((value, i) => dy[i] * u[i] * value);
        check(
          library,
          'swiglu_gradient',
          [g, u, dy, result(n), result(n), n],
          [dg, sigmoid.map((v, i) => dy[i] * g[i] * v)],
        );
      }),
      RUNS,
    ));

  it('SwiGLU far from 0 neither overflows nor loses its sign', () => {
    const g = Float32Array.of(-200, -90, 90, 200);
    const one = Float32Array.of(1, 1, 1, 1);
    const [y] = run(library, 'swiglu', [g, one, result(4), 4]);
    expect([...y].map(value => value + 0)).toEqual([0, 0, 90, 200]);
    const [dg] = run(library, 'swiglu_gradient', [g, one, one, result(4), result(4), 4]);
    expect([...dg].map(value => value + 0)).toEqual([0, 0, 1, 1]);
  });

  it('softmax', () => {
    fc.assert(
      fc.property(tall, width, seed, (rows, columns, s) => {
        const x = drawing(s).floats(rows * columns, 5);
        const e = wide(x).map(Math.exp);
        const want = e.map((value, i) => value / sum(e.subarray(i - (i % columns), i - (i % columns) + columns)));
        check(library, 'softmax', [x, result(x.length), rows, columns], [want]);
      }),
      RUNS,
    );
    const long = drawing(5).floats(3 * 2500, 5);
    const sums = table(3, 1, row => sum(wide(long.subarray(row * 2500, (row + 1) * 2500)).map(Math.exp)));
    const want = wide(long).map((value, i) => Math.exp(value) / sums[Math.floor(i / 2500)]);
    check(library, 'softmax', [long, result(long.length), 3, 2500], [want]);
    const x = Float32Array.of(3000, -Infinity, 3000, Number.NaN, 0, 1);
    const [y] = run(library, 'softmax', [x, result(6), 2, 3]);
    expect([...y]).toEqual([0.5, 0, 0.5, Number.NaN, Number.NaN, Number.NaN]);
  });

  it('sums of rows, of columns and of squares', () =>
    fc.assert(
      fc.property(tall, width, length, seed, (rows, columns, n, s) => {
        const { floats } = drawing(s);
        const [x, y] = [floats(rows * columns), floats(n, 1e-3)];
        const byRow = table(rows, 1, row => sum(wide(x.subarray(row * columns, (row + 1) * columns))));
        check(library, 'row_sum', [x, result(rows), rows, columns], [byRow], 1e-5);
        const byColumn = table(columns, 1, c => sum(table(rows, 1, r => x[r * columns + c])));
        check(library, 'column_sum', [x, result(columns), rows, columns], [byColumn], 1e-5);
        const squares = [sum(wide(y).map(value => value * value))];
        check(library, 'sum_of_squares', [y, result(1), n], [squares], 1e-7);
      }),
      { ...RUNS, examples: [[1000, 40, 0, 3]] },
    ));

  it('sums of squares that fp32 cannot hold one by one', () => {
    const x = new Float32Array(1000).fill(1e-23);
    x[0] = 1e-19;
    check(library, 'sum_of_squares', [x, result(1), 1000], [[1e-38 + 999e-46]], 1e-6);
  });

  it('RMSNorm and its gradient', () =>
    fc.assert(
      fc.property(tall, width, seed, (rows, drawn, s) => {
        const d = Math.max(5, drawn); // with fewer channels the gradient is little but cancellation
        const { floats } = drawing(s);
        const [x, w, dy] = [floats(rows * d), floats(d), floats(rows * d)];
        check(library, 'rms_norm', [x, w, result(x.length), rows, d, 1e-5], [rmsNorm64(wide(x), wide(w), d, 1e-5)]);
        const r = table(rows, 1, t => 1 / Math.sqrt(sum(table(d, 1, i => x[t * d + i] ** 2)) / d + 1e-5));
        const pull = table(rows, 1, t => (r[t] ** 3 / d) * sum(table(d, 1, i => w[i] * dy[t * d + i] * x[t * d + i])));
        const dx = table(rows, d, (t, i) => r[t] * w[i] * dy[t * d + i] - pull[t] * x[t * d + i]);
        const dw = table(d, 1, i => sum(table(rows, 1, t => dy[t * d + i] * x[t * d + i] * r[t])));
        check(library, 'rms_norm_gradient', [x, w, dy, result(x.length), result(d), rows, d, 1e-5], [dx, dw], 1e-5);
      }),
      { ...RUNS, examples: [[1000, 40, 3]] },
    ));

  it('rotary positions, forwards and backwards', () =>
    fc.assert(
      fc.property(few, few, width, seed, (tokens, heads, half, s) => {
        const { floats, ints } = drawing(s);
        const d = 2 * half;
        const [x, turns, row] = [floats(tokens * heads * d), floats(4 * d), ints(tokens, 0, 4)];
        for (const direction of [1, -1]) {
          const want = table(tokens * heads, d, (th, i) => {
            const at = row[Math.floor(th / heads)] * d + (i % half);
            const [here, there] = [x[th * d + i], x[th * d + ((i + half) % d)]];
            return here * turns[at] + (i < half ? -1 : 1) * there * direction * turns[at + half];
          });
          check(library, 'rope', [x, turns, row, result(x.length), tokens, heads, half, direction], [want]);
        }
      }),
      RUNS,
    ));

  it('cross-entropy and its gradient, through the largest logit and the share that it keeps', () => {
    fc.assert(
      fc.property(tall, width, seed, (tokens, vocabulary, s) => {
        const { floats, ints } = drawing(s);
        const logits = floats(tokens * vocabulary, 4);
        const label = ints(tokens, 0, vocabulary).map((value, t) => (t % 4 === 1 ? -100 : value));
        const loss = crossEntropy64(wide(logits), label, vocabulary);
        const [got, kept] = run(library, 'cross_entropy', [
          logits,
          label,
          result(tokens),
          result(2 * tokens),
          tokens,
          vocabulary,
        ]);
        expectClose('loss', got, loss, TOLERANCE);
        const dy = floats(tokens);
        const want = table(tokens, vocabulary, (t, v) => {
          if (label[t] < 0) return 0;
          const share = Math.exp(logits[t * vocabulary + v] - logits[t * vocabulary + label[t]] - loss[t]);
          return dy[t] * (share - (v === label[t] ? 1 : 0));
        });
        const args = [logits, label, kept, dy, result(want.length), tokens, vocabulary];
        check(library, 'cross_entropy_gradient', args, [want], 1e-5);
      }),
      RUNS,
    );
    const logits = Float32Array.of(-2000, 3000, 0, -Infinity, 0, 0, Number.NaN, 0, 0);
    const label = Int32Array.of(0, 1, 1);
    const [loss] = run(library, 'cross_entropy', [logits, label, result(3), result(6), 3, 3]);
    expect([...loss]).toEqual([5000, Math.fround(Math.log(2)), Number.NaN]);
  });

  it('cross-entropy where the largest logit comes late', () => {
    const vocabulary = 5000;
    const logits = Float32Array.from({ length: vocabulary }, (_, v) => -Infinity + 0 * v).fill(2, 100);
    logits[4999] = 90;
    const want = crossEntropy64(wide(logits), [100], vocabulary);
    check(
      library,
      'cross_entropy',
      [logits, Int32Array.of(100), result(1), result(2), 1, vocabulary],
      [want, [90, 1 / (1 + 4899 * Math.exp(-88))]],
    );
  });

  it('AdamW in place, with decay and a scaled gradient', () => {
    fc.assert(
      fc.property(length, seed, (n, s) => {
        const { floats } = drawing(s);
        const [theta, g, m, v] = [floats(n), floats(n), floats(n), floats(n).map(Math.abs)];
        const [beta1, beta2, keep, rate, root, epsilon, scale] = [0.9, 0.999, 0.999, 0.01, 1.3, 1e-8, 0.25];
        const newM = wide(m).map((value, i) => beta1 * value + (1 - beta1) * scale * g[i]);
        const newV = wide(v).map((value, i) => beta2 * value + (1 - beta2) * (scale * g[i]) ** 2);
        const step = newM.map((value, i) => (rate * value) / (Math.sqrt(newV[i]) * root + epsilon));
        const newTheta = wide(theta).map((value, i) => value * keep - step[i]);
        const settings = [beta1, beta2, keep, rate, root, epsilon, scale];
        check(library, 'adamw', [changed(theta), g, changed(m), changed(v), n, ...settings], [newTheta, newM, newV]);
      }),
      RUNS,
    );
    const tiny = Float32Array.of(1.3e-38, -1.3e-38, 2e-38);
    const zeros = new Float32Array(3);
    const args = [changed(zeros), zeros, changed(tiny), changed(tiny), 3, 0.9, 0.9, 1, 0.01, 1, 1e-8, 1];
    const [, m] = run(library, 'adamw', args);
    expect([...m].map(value => value + 0)).toEqual([0, 0, Math.fround(Math.fround(0.9) * Math.fround(2e-38))]);
  });

  it('embedding and its gradient', () =>
    fc.assert(
      fc.property(tall, width, seed, (tokens, d, s) => {
        const { floats, ints } = drawing(s);
        const vocabulary = 1 + (s % 90);
        const [w, dy, id] = [floats(vocabulary * d), floats(tokens * d), ints(tokens, 0, vocabulary)];
        check(library, 'embedding', [w, id, result(tokens * d), tokens, d], [gather64(wide(w), d, id, 1)], 0);
        const dw = new Float64Array(vocabulary * d);
        dy.forEach((value, i) => {
          dw[id[Math.floor(i / d)] * d + (i % d)] += value;
        });
        check(library, 'embedding_gradient', [dy, id, result(dw.length), tokens, vocabulary, d], [dw], 1e-5);
      }),
      RUNS,
    ));

  it('sums of gathered rows, weighted combination and its gradient, with rows left out and read twice', () =>
    fc.assert(
      fc.property(tall, fc.integer({ min: 1, max: 3 }), width, seed, (tokens, k, d, s) => {
        const { floats, ints } = drawing(s);
        const rows = 1 + (s % 90);
        const [y, gate, dout, index] = [
          floats(rows * d),
          floats(tokens * k),
          floats(tokens * d),
          ints(tokens * k, -1, rows),
        ];
        const summed = gather64(wide(y), d, index, k);
        check(library, 'gather_sum', [y, index, result(tokens * d), tokens, k, d], [summed]);
        const combined = gather64(wide(y), d, index, k, wide(gate));
        check(library, 'combine', [y, gate, index, result(tokens * d), tokens, k, d], [combined]);
        const [dy, dgate] = [new Float64Array(rows * d), new Float64Array(tokens * k)];
        index.forEach((row, slot) => {
          for (let i = 0; row >= 0 && i < d; i++) {
            const upstream = dout[Math.floor(slot / k) * d + i];
            dy[row * d + i] += gate[slot] * upstream;
            dgate[slot] += y[row * d + i] * upstream;
          }
        });
        const args = [y, gate, dout, index, result(rows * d), result(tokens * k), tokens, k, d, rows];
        check(library, 'combine_gradient', args, [dy, dgate], 1e-5);
      }),
      RUNS,
    ));
});
