// Clipping and accumulation.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { sumsOfSquares } from '../../src/engine/ops/sum-of-squares.ts';
import type { Tensor } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { createAccumulator } from '../../src/train/accumulate.ts';
import { type Clipping, clippingOf } from '../../src/train/clip.ts';

beforeAll(async () => void (await selectBackend('cpu')));

const gradients = (values: Record<string, number[]>): Map<string, Tensor> =>
  new Map(Object.entries(values).map(([name, numbers]) => [name, tf.tensor1d(numbers)]));
/** Reads and frees. */
function take(map: Map<string, Tensor>): Record<string, number[]> {
  const values = Object.fromEntries([...map].map(([name, tensor]) => [name, [...tensor.dataSync()]]));
  tf.dispose([...map.values()]);
  return values;
}

/** How these gradients are clipped. */
function clipping(map: Map<string, Tensor>, limit: number): Clipping {
  const sums = sumsOfSquares([...map.values()]);
  const found = clippingOf([...map.keys()], sums.dataSync(), limit);
  sums.dispose();
  return found;
}

describe('clipping', () => {
  it('3, 4 and 12 have norm 13; clipping to 1 divides by 13, which is left to the optimizer', () => {
    const map = gradients({ a: [3, 4], b: [12] });
    expect(clipping(map, 1)).toEqual({ norm: 13, scale: 1 / 13, nonFinite: [] });
    expect(take(map)).toEqual({ a: [3, 4], b: [12] });
  });

  it('at or under the limit the factor is exactly 1', () => {
    const map = gradients({ a: [3, 4] });
    expect(clipping(map, 5)).toEqual({ norm: 5, scale: 1, nonFinite: [] });
    take(map);
  });

  it('a gradient that is not finite is named and the factor is 1', () => {
    const map = gradients({ a: [30, 40], b: [Number.NaN, 1], c: [Infinity] });
    const { norm, scale, nonFinite } = clipping(map, 1);
    expect(norm).toBeNaN();
    expect([scale, nonFinite]).toEqual([1, ['b', 'c']]);
    take(map);
  });

  it('nothing to clip has norm 0', () => {
    expect(clippingOf([], [], 1)).toEqual({ norm: 0, scale: 1, nonFinite: [] });
  });

  it('norm times factor is the smaller of norm and limit', () => {
    const vectors = fc.array(fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1 }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(vectors, fc.double({ min: 0.01, max: 50, noNaN: true }), (lists, limit) => {
        const map = gradients(Object.fromEntries(lists.map((list, index) => [`p${index}`, list])));
        const { norm, scale } = clipping(map, limit);
        take(map);
        expect(norm).toBeCloseTo(Math.hypot(...lists.flat()), 3);
        expect(norm * scale).toBeCloseTo(Math.min(norm, limit), 6);
      }),
      { numRuns: 40 },
    );
  });
});

describe('accumulation', () => {
  it('weights by tokens: (3 · [2, 4] + 1 · [6, 0]) / 4 = [3, 3]', () => {
    const accumulator = createAccumulator();
    accumulator.add(gradients({ a: [2, 4] }), 3);
    accumulator.add(gradients({ a: [6, 0] }), 1);
    const { gradients: sum, tokens } = accumulator.finish();
    expect([take(sum), tokens]).toEqual([{ a: [3, 3] }, 4]);
  });

  it('one micro-batch passes as the same tensors', () => {
    const accumulator = createAccumulator();
    const map = gradients({ a: [1 / 3] });
    accumulator.add(map, 7);
    const { gradients: sum } = accumulator.finish();
    expect(sum.get('a')).toBe(map.get('a'));
    take(sum);
  });

  it('a micro-batch without tokens is dropped, NaN and all; a gradient absent from one counts as zero', () => {
    const accumulator = createAccumulator();
    accumulator.add(gradients({ a: [Number.NaN] }), 0);
    accumulator.add(gradients({ a: [4] }), 1);
    accumulator.add(gradients({ b: [8] }), 1);
    const { gradients: sum, tokens } = accumulator.finish();
    expect([take(sum), tokens]).toEqual([{ a: [2], b: [4] }, 2]);
    expect(accumulator.finish()).toEqual({ gradients: new Map(), tokens: 0 });
  });

  it('a step that is given up leaves no tensors', () => {
    const accumulator = createAccumulator();
    accumulator.add(gradients({ a: [1] }), 1);
    accumulator.add(gradients({ a: [1] }), 1);
    accumulator.dispose();
    expect(accumulator.finish().tokens).toBe(0);
  });

  it('any split of a batch gives the gradient of the whole: a linear least-squares loss, mean over rows', () => {
    const rows = fc.array(fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -9, max: 9 })), {
      minLength: 1,
      maxLength: 12,
    });
    const gradientOf = (part: [number, number][]): Map<string, Tensor> => {
      const of = tf.grad(w =>
        tf.tidy(() => {
          const x = tf.tensor1d(part.map(row => row[0]));
          const y = tf.tensor1d(part.map(row => row[1]));
          return tf.mean(tf.square(tf.sub(tf.mul(x, w), y)));
        }),
      );
      const w = tf.scalar(0.5);
      const map = new Map([['w', of(w)]]);
      w.dispose();
      return map;
    };
    fc.assert(
      fc.property(rows, fc.array(fc.nat(12), { maxLength: 4 }), (batch, cuts) => {
        const places = [0, ...cuts.map(cut => Math.min(cut, batch.length)).sort((a, b) => a - b), batch.length];
        const accumulator = createAccumulator();
        for (const [i, end] of places.slice(1).entries()) {
          const part = batch.slice(places[i], end);
          if (part.length > 0) accumulator.add(gradientOf(part), part.length);
        }
        const whole = take(gradientOf(batch)).w[0];
        const sum = take(accumulator.finish().gradients).w[0];
        expect(Math.abs(sum - whole)).toBeLessThan(1e-5 * Math.max(1, Math.abs(whole)));
      }),
      { numRuns: 50 },
    );
  });
});
