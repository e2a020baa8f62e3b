// tfjs's own WebGPU kernels, where the model, the routers and training use them, and ours in their place: values and gradients
// against double precision on shapes of theirs, rows of whole 16 bytes and not, the same bits on repeat.
import { beforeAll, describe, expect, it } from 'vitest';
import { type Tensor, tf } from '../../../src/engine/tf.ts';
import { use, webgpuHere } from '../backends.ts';
import type { Values } from '../float64.ts';
import { expectClose, judge } from '../judge.ts';
import { read, scoped } from '../scope.ts';

type Any = (...inputs: Tensor[]) => Tensor;

/** f at each row and column, row by row. */
const table = (rows: number, columns: number, f: (row: number, column: number) => number): Values =>
  Float64Array.from({ length: rows * columns }, (_, i) => f(Math.floor(i / columns), i % columns));
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((total, value) => total + value, 0);

describe.runIf(webgpuHere.works)("tfjs's kernels", () => {
  beforeAll(async () => void (await use('webgpu')));

  /** Operations on a matrix x of so many columns and what else they take, by its shape. */
  const matrixOperations: Record<string, { more: (t: number, d: number) => number[][]; run: Any; truth: Truth }> = {
    'sum of equal shapes': {
      more: (t, d) => [[t, d]],
      run: tf.add as Any,
      truth: (_, d, x, y) => table(x.length / d, d, (r, c) => x[r * d + c] + y[r * d + c]),
    },
    'a row times a matrix': {
      more: (_, d) => [[d]],
      run: tf.mul as Any,
      truth: (_, d, x, y) => x.map((value, i) => value * y[i % d]),
    },
    'a column times a matrix': {
      more: t => [[t, 1]],
      run: tf.mul as Any,
      truth: (_, d, x, y) => x.map((value, i) => value * y[Math.floor(i / d)]),
    },
    'a matrix over a column': {
      more: t => [[t, 1]],
      run: (x, y) => tf.div(x, tf.add(tf.square(y), 1)),
      truth: (_, d, x, y) => x.map((value, i) => value / (y[Math.floor(i / d)] ** 2 + 1)),
    },
    'a number over and times a matrix': {
      more: () => [],
      run: x => tf.div(tf.mul(x, 3), 7),
      truth: (_, __, x) => x.map(value => (value * 3) / 7),
    },
    'sums of rows': { more: () => [], run: x => tf.sum(x, 1, true), truth: rowSums },
    'sums of columns': {
      more: () => [],
      run: x => tf.sum(x, 0),
      truth: (t, d, x) => table(1, d, (_, c) => sum(table(t, 1, r => x[r * d + c]))),
    },
    'sum of all': { more: () => [], run: x => tf.sum(x), truth: (_, __, x) => Float64Array.of(sum(x)) },
    softmax: {
      more: () => [],
      run: x => tf.softmax(x as never),
      truth: (t, d, x) => {
        const total = rowSums(t, d, x.map(Math.exp));
        return x.map((value, i) => Math.exp(value) / total[Math.floor(i / d)]);
      },
    },
    sigmoid: {
      more: () => [],
      run: tf.sigmoid as Any,
      truth: (_, __, x) => x.map(value => 1 / (1 + Math.exp(-value))),
    },
    'logarithm of a sum of exponentials': {
      more: () => [],
      run: x => tf.log(tf.sum(tf.exp(x), 1)),
      truth: (t, d, x) => rowSums(t, d, x.map(Math.exp)).map(Math.log),
    },
    'rows below one another, and one of them again': {
      more: (_, d) => [[2, d]],
      run: (x, y) => tf.slice(tf.concat([x, y, x], 0), [1, 0], [x.shape[0] + 2, x.shape[1] as number]),
      truth: (_, d, x, y) => Float64Array.of(...x, ...y, ...x).slice(d, d + x.length + 2 * d),
    },
    'columns beside one another, then one number after the other': {
      more: (t, d) => [[t, d]],
      run: (x, y) => tf.reshape(tf.concat([x, y], 1), [-1]),
      truth: (t, d, x, y) => table(t, 2 * d, (r, c) => (c < d ? x[r * d + c] : y[r * d + c - d])),
    },
  };

  for (const [name, { more, run, truth }] of Object.entries(matrixOperations)) {
    it.each([
      [1, 1],
      [5, 3],
      [3, 8],
      [9, 65],
    ])(`${name}, %i by %i`, (t, d) =>
      judge({ shapes: [[t, d], ...more(t, d)], seed: t + d, operation: run, truth: (...x) => truth(t, d, ...x) }),
    );
  }

  it('sums, of rows and of all, of many numbers', async () => {
    await scoped(async () => {
      for (const [t, d] of [
        [40, 64],
        [3, 4097],
        [1, 100_003],
      ]) {
        const x = Float32Array.from({ length: t * d }, (_, i) => ((i * 7919) % 10_007) / 5_000 - 0.5);
        const [tensor, wide] = [tf.tensor2d(x, [t, d]), Float64Array.from(x)];
        expectClose('all', await read(tf.sum(tensor)), [sum(x)], 1e-6);
        expectClose('rows', await read(tf.sum(tensor, 1)), rowSums(t, d, wide), 1e-6);
        const columns = table(1, t, (_, c) => sum(table(d, 1, r => wide[r * t + c])));
        expectClose('columns', await read(tf.sum(tf.reshape(tensor, [d, t]), 0)), columns, 1e-6);
      }
    })();
  });

  it.each([1, 2, 7, 8, 9, 40, 100])('the sum of %i tensors', async count => {
    await scoped(async () => {
      for (const shape of [[], [3], [4, 4]]) {
        const tensors = Array.from({ length: count }, (_, i) => tf.fill(shape, 2 ** (i % 20)));
        const want = sum(Array.from({ length: count }, (_, i) => 2 ** (i % 20)));
        const [total, gradient] = [tf.addN(tensors), tf.grad(x => tf.addN([...tensors.slice(1), x]))(tensors[0])];
        expect(new Set(await read(total))).toEqual(new Set([want]));
        expect(new Set(await read(gradient))).toEqual(new Set([1]));
      }
    })();
  });

  it('integers: counts, shares and the larger of two', async () => {
    await scoped(async () => {
      const load = tf.tensor1d([3, 0, 5], 'int32');
      expect([...(await read(tf.div(load, tf.maximum(tf.sum(load), 1))))]).toEqual([0.375, 0, 0.625]);
    })();
  });
});

type Truth = (t: number, d: number, ...inputs: Values[]) => Values;

function rowSums(t: number, d: number, x: Values): Values {
  return table(t, 1, row => sum(x.subarray(row * d, (row + 1) * d)));
}
