// Many tensors in one read: each gets back its own numbers, what is on the host already is not touched.
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { readTogether } from '../../src/engine/read-together.ts';
import { tf } from '../../src/engine/tf.ts';

describe.each(['cpu', 'wasm'] as const)('%s', backend => {
  beforeEach(() => selectBackend(backend).then(() => undefined));

  test('by hand: a matrix, a scalar, integers and a host array, in two groups and one read', async () => {
    const reads = vi.spyOn(tf.engine(), 'read');
    const tensors = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.scalar(-0.5), tf.tensor1d([7, -1, 2 ** 24 - 1], 'int32')];
    const onHost = Float64Array.of(0.1);
    const [first, second] = await readTogether([tensors[0], onHost], [tensors[1], tensors[2]]);
    expect(first).toEqual([Float32Array.of(1, 2, 3, 4), onHost]);
    expect(first[1]).toBe(onHost);
    expect(second).toEqual([Float32Array.of(-0.5), Float32Array.of(7, -1, 2 ** 24 - 1)]);
    expect(reads).toHaveBeenCalledTimes(1);
    expect(tensors.map(tensor => tensor.isDisposed)).toEqual([false, false, false]);
    tf.dispose(tensors);
  });

  test('without tensors nothing is waited for', async () => {
    const reads = vi.spyOn(tf.engine(), 'read');
    expect(await readTogether()).toEqual([]);
    expect(await readTogether([], [Int32Array.of(3)])).toEqual([[], [Int32Array.of(3)]]);
    expect(reads).not.toHaveBeenCalled();
  });

  test('any tensors come back with their bits, also NaN, infinities and −0, when others are gone by then', async () => {
    const number = fc.float({ noDefaultInfinity: false, noNaN: false });
    const arrays = fc.array(fc.array(number, { maxLength: 9 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(arrays, async lists => {
        const tensors = lists.map(list => tf.tensor1d(list, 'float32'));
        const [values] = await readTogether(tensors);
        tf.dispose(tensors);
        expect(values).toEqual(lists.map(list => Float32Array.from(list)));
      }),
      { numRuns: 50, examples: [[[[], []]]] },
    );
  });
});

test('a device that is lost leaves no tensor behind', async () => {
  await selectBackend('cpu');
  vi.spyOn(tf.engine(), 'read').mockRejectedValue(new Error('lost'));
  const x = tf.scalar(1);
  await expect(readTogether([x])).rejects.toThrow('lost');
  x.dispose();
});
