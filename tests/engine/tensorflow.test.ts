// The forms of the operations for TensorFlow, on machines without it: they are made of calls of tfjs, so a backend of the name
// `tensorflow` with the kernels of `cpu` runs them. Values and gradients against double precision.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attention } from '../../src/engine/ops/attention.ts';
import { combine } from '../../src/engine/ops/combine.ts';
import { crossEntropy } from '../../src/engine/ops/cross-entropy.ts';
import { embedding } from '../../src/engine/ops/embedding.ts';
import { gatherRows } from '../../src/engine/ops/gather-rows.ts';
import { groupedLinear } from '../../src/engine/ops/grouped-linear.ts';
import { pickColumns } from '../../src/engine/ops/pick-columns.ts';
import { rmsNorm } from '../../src/engine/ops/rms-norm.ts';
import { rope } from '../../src/engine/ops/rope.ts';
import { swigluNetwork } from '../../src/engine/ops/swiglu-network.ts';
import { registerTensorflowKernels } from '../../src/engine/tensorflow/register.ts';
import type { Tensor, Tensor2D } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import {
  attention64,
  crossEntropy64,
  gather64,
  groupedLinear64,
  rmsNorm64,
  rope64,
  swiglu64,
  type Values,
} from './float64.ts';
import { judge } from './judge.ts';

type Any = (...inputs: Tensor[]) => Tensor;
const any = (f: unknown): Any => f as Any;
const size = (max: number) => fc.integer({ min: 1, max });
const seed = fc.integer({ min: 0, max: 2 ** 31 });
const holds = (property: fc.IAsyncProperty<unknown>) => fc.assert(property, { numRuns: 12, seed: 7 });
const offsetsOf = (counts: number[]): Int32Array =>
  Int32Array.from([0, ...counts], (_, e) => counts.slice(0, e).reduce((sum, count) => sum + count, 0));

beforeAll(async () => {
  if (tf.findBackendFactory('tensorflow')) throw new Error('this file is for a stand-in, not for TensorFlow itself');
  tf.registerBackend('tensorflow', () => Object.assign(new tf.MathBackendCPU(), { firstUse: false })); // no advertisement
  tf.copyRegisteredKernels('cpu', 'tensorflow');
  registerTensorflowKernels();
  await tf.setBackend('tensorflow');
});
afterAll(async () => {
  await tf.setBackend('cpu');
  tf.removeBackend('tensorflow');
});

it('a single choice has all of the softmax, and the kernels are replaced once', () => {
  const before = tf.getKernel('Softmax', 'tensorflow');
  registerTensorflowKernels();
  expect(tf.getKernel('Softmax', 'tensorflow')).toBe(before);
  expect(before.kernelFunc).not.toBe(tf.getKernel('Softmax', 'cpu').kernelFunc);
  tf.tidy(() => {
    const share = tf.softmax(tf.tensor2d([3, -1e30, 1, 1, 700, 700], [3, 2])).dataSync();
    expect([...share]).toEqual([1, 0, 0.5, 0.5, 0.5, 0.5]);
  });
});

describe('values and gradients', () => {
  it('attention with grouped heads, segments, padding and a cache', () => {
    const segments = (length: number) =>
      fc.array(fc.integer({ min: -1, max: 2 }), { minLength: length, maxLength: length });
    const layout = fc
      .tuple(size(2), size(5), fc.nat(3), size(3), size(2), size(4))
      .chain(([batch, queries, past, ratio, groups, d]) =>
        fc.record({
          sizes: fc.constant({ batch, queries, keys: queries + past, heads: ratio * groups, groups, d }),
          query: segments(batch * queries),
          key: segments(batch * (queries + past)),
        }),
      );
    return holds(
      fc.asyncProperty(layout, seed, ({ sizes, query, key }, s) => {
        const { batch, queries, keys, heads, groups, d } = sizes;
        const [qs, ks] = [Int32Array.from(query), Int32Array.from(key)];
        return judge({
          shapes: [[batch, queries, heads, d], ...[1, 2].map(() => [batch, keys, groups, d])],
          seed: s,
          operation: any((q: never, k: never, v: never) => attention(q, k, v, qs, ks)),
          truth: (q, k, v) => attention64(q, k, v, sizes, query, key),
        });
      }),
    );
  });

  it('rope', () =>
    holds(
      fc.asyncProperty(fc.array(fc.nat(200), { minLength: 1, maxLength: 5 }), size(3), size(4), seed, (p, h, half, s) =>
        judge({
          shapes: [[p.length, h, 2 * half]],
          seed: s,
          operation: any((x: never) => rope(x, Int32Array.from(p), 100)),
          truth: x => rope64(x, h, 2 * half, p, 100),
        }),
      ),
    ));

  it('rmsNorm', () =>
    holds(
      fc.asyncProperty(size(5), fc.integer({ min: 2, max: 9 }), seed, (t, d, s) =>
        judge({
          shapes: [[t, d], [d]],
          seed: s,
          operation: any((x: never, w: never) => rmsNorm(x, w, 1e-5)),
          truth: (x, w) => rmsNorm64(x, w, d, 1e-5),
        }),
      ),
    ));

  it('embedding, with one id up to 40 times', () =>
    holds(
      fc.asyncProperty(fc.array(fc.nat(4), { minLength: 1, maxLength: 40 }), size(5), seed, (ids, d, s) =>
        judge({
          shapes: [[6, d]],
          seed: s,
          operation: any((w: never) => embedding(w, Int32Array.from(ids))),
          truth: w => gather64(w, d, ids, 1),
        }),
      ),
    ));

  it('crossEntropy, with ignored labels', () =>
    holds(
      fc.asyncProperty(fc.array(fc.constantFrom(-100, 0, 1, 5), { minLength: 1, maxLength: 6 }), seed, (labels, s) =>
        judge({
          shapes: [[labels.length, 6]],
          seed: s,
          operation: any((x: never) => crossEntropy(x, Int32Array.from(labels))),
          truth: x => crossEntropy64(x, labels, 6),
        }),
      ),
    ));

  it('gatherRows, which adds up the rows that were read more than once', () =>
    holds(
      fc.asyncProperty(
        fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 9 }),
        size(5),
        seed,
        (index, d, s) =>
          judge({
            shapes: [[4, d]],
            seed: s,
            operation: any((x: never) => gatherRows(x, Int32Array.from(index))),
            truth: x => gather64(x, d, index, 1),
          }),
      ),
    ));

  it('combine, with dropped slots, and rows that no slot reads', () =>
    holds(
      fc.asyncProperty(size(4), size(3), size(5), fc.nat(2), fc.boolean(), seed, (tokens, k, d, drop, told, s) => {
        const slots = tokens * k;
        const inverse = Int32Array.from({ length: slots }, (_, n) => (n % 4 < drop ? -1 : slots - 1 - n));
        const slot = Int32Array.from({ length: slots }, (_, row) => inverse.indexOf(row));
        return judge({
          shapes: [
            [slots, d],
            [tokens, k],
          ],
          seed: s,
          operation: any((y: never, gate: never) => combine(y, inverse, gate, told ? slot : undefined)),
          truth: (y, gate) => gather64(y, d, inverse, k, gate),
        });
      }),
    ));

  it('pickColumns, also one column twice and none', () =>
    holds(
      fc.asyncProperty(size(5), size(4), size(5), seed, (rows, picks, width, s) => {
        const index = Int32Array.from({ length: rows * picks }, (_, n) => ((s % 97) * (n + 1)) % (width + 1)).map(
          e => e - 1,
        );
        const flat = index.map((column, n) => (column < 0 ? -1 : Math.floor(n / picks) * width + column));
        return judge({
          shapes: [[rows, width]],
          seed: s,
          operation: any((x: never) => pickColumns(x, index, picks)),
          truth: x => gather64(x, 1, flat, 1),
        });
      }),
    ));

  it('groupedLinear, with empty segments', () =>
    holds(
      fc.asyncProperty(
        fc.array(fc.nat(4), { minLength: 1, maxLength: 4 }),
        size(5),
        size(6),
        seed,
        (drawn, d, f, s) => {
          const offsets = offsetsOf([drawn[0] + 1, ...drawn.slice(1)]);
          return judge({
            shapes: [[offsets.at(-1)!, d], ...drawn.map(() => [f, d])],
            seed: s,
            operation: any((x: never, ...w: never[]) => groupedLinear(x, w, offsets)),
            truth: (x, ...w) => groupedLinear64(x, w, d, f, offsets),
          });
        },
      ),
    ));

  it('swigluNetwork, with empty segments', () =>
    holds(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 3 }),
        size(4),
        size(5),
        seed,
        (drawn, d, f, s) => {
          const offsets = offsetsOf([drawn[0] + 1, ...drawn.slice(1)]);
          const thirds = <T>(all: T[]): T[][] =>
            [0, 1, 2].map(i => all.slice(i * drawn.length, (i + 1) * drawn.length));
          const each = (shape: number[]): number[][] => drawn.map(() => shape);
          return judge({
            shapes: [[offsets.at(-1)!, d], ...each([f, d]), ...each([f, d]), ...each([d, f])],
            seed: s,
            operation: (x, ...w) => {
              const [gate, up, down] = thirds(w as Tensor2D[]);
              return swigluNetwork(x as Tensor2D, gate, up, down, offsets);
            },
            truth: (x: Values, ...w: Values[]) => {
              const [gate, up, down] = thirds(w);
              const hidden = swiglu64(groupedLinear64(x, gate, d, f, offsets), groupedLinear64(x, up, d, f, offsets));
              return groupedLinear64(hidden, down, f, d, offsets);
            },
          });
        },
      ),
    ));
});
