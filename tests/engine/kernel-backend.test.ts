// The native backend as a whole: what is said where it cannot run; where it runs, that a small mixture learns on it what
// it learns on wasm and cpu, with the same bits again and on any number of threads, and that nothing is left behind.
import { describe, expect, it } from 'vitest';
import { type Tensor, tf } from '../../src/engine/tf.ts';
import { memoryOfTraining } from '../model/training-run.ts';
import { nativeHere, use } from './backends.ts';
import { expectClose, generator } from './judge.ts';

describe.runIf(nativeHere.works)('where it runs', () => {
  const settings = { router: { balance_coefficient: 0.01, z_coefficient: 0.001 }, model: { shared_expert: true } };
  const lossesOn = async (...where: Parameters<typeof use>): Promise<number[]> => {
    await use(...where);
    const { losses, memory } = await memoryOfTraining(30, settings);
    expect(memory.slice(2)).toEqual(Array(28).fill(memory[1]));
    return losses;
  };

  it('thirty steps: the losses of wasm and cpu to 1e-4, the same bits on repeat and on two threads', async () => {
    const native = await lossesOn('native', { threads: 1 });
    expect(await lossesOn('native', { threads: 1 })).toEqual(native);
    expect(await lossesOn('native', { threads: 2 })).toEqual(native);
    for (const other of ['wasm', 'cpu'] as const) {
      const losses = await lossesOn(other);
      for (const [step, loss] of losses.entries()) expect(Math.abs(loss - native[step])).toBeLessThan(1e-4);
    }
    expect(native[29]).toBeLessThan(native[0]);
  });

  it('buffers of the backend are freed with their tensors', async () => {
    await use('native');
    const before = tf.backend().numDataIds();
    await memoryOfTraining(3, settings);
    expect(tf.backend().numDataIds()).toBe(before);
  });

  const random = (shape: number[], seed: number): Tensor =>
    tf.tensor(Float32Array.from({ length: tf.util.sizeFromShape(shape) }, generator(seed)), shape);

  /** f on native against f on cpu. */
  async function compare(f: () => Tensor): Promise<void> {
    const values = async (name: 'native' | 'cpu') => {
      await use(name);
      return tf.tidy(() => [f().shape, f().dataSync().slice()] as const);
    };
    const [[shape, got], [wantShape, want]] = [await values('native'), await values('cpu')];
    expect(shape).toEqual(wantShape);
    expectClose('value', got as Float32Array, want as Float32Array, 1e-5);
  }

  it.each([
    ['batches, plain', [2, 3, 4, 5], [2, 3, 5, 6], false, false],
    ['batches, right side turned', [3, 17, 33], [3, 9, 33], false, true],
    ['batches, left side turned', [3, 33, 17], [3, 33, 9], true, false],
    ['batches, both turned', [2, 5, 4], [2, 6, 5], true, true],
    ['one right side for all batches, which tfjs does', [3, 4, 5], [1, 5, 6], false, false],
    ['a matrix, both turned', [5, 4], [6, 5], true, true],
    ['nothing to sum over', [3, 0], [0, 2], false, false],
  ] as const)('tf.matMul: %s', (_, a, b, transposeA, transposeB) =>
    compare(() => tf.matMul(random([...a], 1), random([...b], 2), transposeA, transposeB)),
  );

  it.each([
    ['with a bias', 'linear'],
    ['with a bias and relu, which tfjs does', 'relu'],
  ] as const)('tf.fused.matMul %s', (_, activation) =>
    compare(() =>
      tf.fused.matMul({
        a: random([7, 5], 1) as never,
        b: random([3, 5], 2) as never,
        bias: random([3], 3),
        transposeA: false,
        transposeB: true,
        activation,
      }),
    ),
  );

  it.each([
    [
      'integers and booleans cast to fp32',
      () => tf.matMul(tf.tensor2d([[1, 2]], [1, 2], 'int32').toFloat(), tf.ones([2, 2])),
    ],
    ['sum of integers', () => tf.add(tf.tensor1d([1, 2], 'int32'), tf.tensor1d([3, 4], 'int32')).toFloat()],
    ['rows added to a matrix', () => tf.add(random([3, 4], 1), random([4], 2))],
    ['product with a number', () => tf.mul(random([3, 4], 1), 2.5)],
    ['product of a number', () => tf.mul(tf.scalar(2.5), random([3, 4], 1))],
    ['softmax of a row of −∞ but one', () => tf.softmax(tf.tensor2d([[-Infinity, 3, -Infinity]]))],
    ['softmax of large numbers', () => tf.softmax(tf.tensor2d([[1e4, 1e4 + 1, -1e4]]))],
    ['softmax over the first axis', () => tf.transpose(tf.softmax(tf.transpose(random([4, 3], 5))))],
    ['slice, then product', () => tf.matMul(tf.slice(random([6, 4], 1) as never, [2, 0], [3, 4]), random([4, 2], 2))],
  ])('%s', (_, f) => compare(f as () => Tensor));

  it('what is handed out stays as it was when its tensor is gone', async () => {
    await use('native');
    const kept = tf.tidy(() => tf.add(tf.ones([1000]), tf.ones([1000])).dataSync());
    tf.tidy(() => void tf.mul(tf.ones([1000]), tf.fill([1000], 7)));
    expect(new Set(kept)).toEqual(new Set([2]));
  });
});
