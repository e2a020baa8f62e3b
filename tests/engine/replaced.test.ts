// The kernels of tfjs that the backends on C kernels run themselves, against the same on cpu: arithmetic that spreads a
// row, a column or a number over a matrix, and what is left to tfjs (other spreads, integers); sums over every axis.
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { kernelBackends, use } from './backends.ts';
import { expectClose, generator } from './judge.ts';

type Operation = (...inputs: Tensor[]) => Tensor;

const random = (shape: number[], seed: number): Tensor => {
  const next = generator(seed);
  return tf.tensor(
    Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => 1.5 + 0.7 * next()),
    shape,
  );
};

/** Value and gradients on one backend. */
async function resultsOn(name: 'cpu' | 'wasm' | 'native', f: Operation, shapes: number[][]) {
  await use(name);
  return tf.tidy(() => {
    const { value, grads } = tf.valueAndGrads(f)(shapes.map((shape, i) => random(shape, i + 1)));
    return [value, ...grads].map(tensor => ({ shape: tensor.shape, values: tensor.dataSync().slice() }));
  });
}

async function compare(name: 'wasm' | 'native', f: Operation, shapes: number[][]): Promise<void> {
  const want = await resultsOn('cpu', f, shapes);
  const got = await resultsOn(name, f, shapes);
  want.forEach(({ shape, values }, i) => {
    expect(got[i].shape).toEqual(shape);
    expectClose(i === 0 ? 'value' : `gradient ${i - 1}`, got[i].values, values, 1e-5);
  });
}

const binary: [string, Operation][] = [
  ['add', (a, b) => tf.add(a, b)],
  ['sub', (a, b) => tf.sub(a, b)],
  ['mul', (a, b) => tf.mul(a, b)],
  ['div', (a, b) => tf.div(a, b)],
];

describe.each(kernelBackends)('%s', name => {
  afterAll(() => use('cpu'));

  it.each(binary)('%s: any shapes that spread', (_, f) => {
    const lengths = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 });
    const spread = lengths.chain(shape => {
      const part = fc
        .tuple(fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }), fc.nat(shape.length))
        .map(([ones, from]) => shape.map((length, i) => (ones[i] ? 1 : length)).slice(from));
      return fc.tuple(part, part);
    });
    return fc.assert(
      fc.asyncProperty(spread, shapes => compare(name, f, shapes)),
      {
        numRuns: 25,
        seed: 3,
        examples: [
          [
            [
              [2, 1, 3],
              [2, 4, 1],
            ],
          ],
          [[[4, 3], [3]]],
          [
            [
              [4, 3],
              [4, 1],
            ],
          ],
          [[[], [4, 3]]],
          [[[1], [7]]],
          [[[0, 3], [3]]],
        ],
      },
    );
  });

  it.each([
    ['exp', x => tf.exp(x)],
    ['log', x => tf.log(x)],
    ['softmax', x => tf.mul(tf.softmax(x), x)],
    ['logSumExp', x => tf.logSumExp(x, 1)],
    ['sum of all', x => tf.sum(x)],
    ['sum over the last axis', x => tf.sum(x, -1, true)],
    ['sum over the first axes', x => tf.sum(x, [0, 1])],
    ['sum over the middle axis', x => tf.sum(x, 1)],
    ['mean over two axes', x => tf.mean(x, [1, 2], true)],
  ] as [string, Operation][])('%s', (_, f) => compare(name, f, [[4, 3, 5]]));

  it('numbers, sums of nothing, integers and booleans', async () => {
    await use(name);
    tf.tidy(() => {
      expect(tf.sum(tf.scalar(3)).dataSync()).toEqual(Float32Array.of(3));
      expect(tf.sum(tf.zeros([0, 3]), 0).dataSync()).toEqual(new Float32Array(3));
      expect(tf.sum(tf.zeros([2, 0]), 1).dataSync()).toEqual(new Float32Array(2));
      const ids = tf.tensor1d([1, 2, 3], 'int32');
      expect(tf.add(ids, tf.scalar(2, 'int32')).dataSync()).toEqual(Int32Array.of(3, 4, 5));
      expect(tf.sum(ids).dataSync()).toEqual(Int32Array.of(6));
      expect(tf.sum(tf.tensor1d([true, true, false])).dataSync()).toEqual(Int32Array.of(2));
      expect(() => tf.add(tf.zeros([2, 3]), tf.zeros([2]))).toThrow('broadcast');
    });
  });
});
