// Every differentiable operation on random shapes, odd and tiny ones included, against double precision, on the
// backends with kernels of ours and on one without any, where the operation must fall back to its reference.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { attention } from '../../src/engine/ops/attention.ts';
import { combine } from '../../src/engine/ops/combine.ts';
import { crossEntropy } from '../../src/engine/ops/cross-entropy.ts';
import { embedding } from '../../src/engine/ops/embedding.ts';
import { gatherRows } from '../../src/engine/ops/gather-rows.ts';
import { groupedLinear } from '../../src/engine/ops/grouped-linear.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { matmul } from '../../src/engine/ops/matmul.ts';
import { rmsNorm } from '../../src/engine/ops/rms-norm.ts';
import { rope, rotaryFrequencies } from '../../src/engine/ops/rope.ts';
import { swiglu } from '../../src/engine/ops/swiglu.ts';
import { attentionReference } from '../../src/engine/reference/attention.ts';
import { crossEntropyReference } from '../../src/engine/reference/cross-entropy.ts';
import { embeddingReference } from '../../src/engine/reference/embedding.ts';
import { combineReference, gatherRowsReference } from '../../src/engine/reference/gather-rows.ts';
import { groupedLinearReference } from '../../src/engine/reference/grouped-linear.ts';
import { linearReference, matmulReference } from '../../src/engine/reference/matmul.ts';
import { rmsNormReference } from '../../src/engine/reference/rms-norm.ts';
import { ropeReference } from '../../src/engine/reference/rope.ts';
import { swigluReference } from '../../src/engine/reference/swiglu.ts';
import type { Tensor } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { allBackends, use } from './backends.ts';
import {
  attention64,
  crossEntropy64,
  gather64,
  groupedLinear64,
  linear64,
  matmul64,
  rmsNorm64,
  rope64,
  swiglu64,
} from './float64.ts';
import { judge } from './judge.ts';

type Any = (...inputs: Tensor[]) => Tensor;
const any = (f: unknown): Any => f as Any;
const size = (max: number) => fc.integer({ min: 1, max });
const seed = fc.integer({ min: 0, max: 2 ** 31 });
const RUNS = { numRuns: 12, seed: 7 };

describe.each(allBackends)('on %s', backend => {
  beforeAll(async () => void (await use(backend)));

  it('runs the backend it names', () => {
    expect(tf.getBackend()).toBe(backend);
    expect(tf.getKernel('MoeAttention', backend) != null).toBe(backend !== 'cpu');
  });

  it('matmul in all four transpositions', () =>
    fc.assert(
      fc.asyncProperty(size(7), size(6), size(5), fc.boolean(), fc.boolean(), seed, (m, k, n, turnA, turnB, s) =>
        judge({
          shapes: [turnA ? [k, m] : [m, k], turnB ? [n, k] : [k, n]],
          seed: s,
          operation: any((a: never, b: never) => matmul(a, b, turnA, turnB)),
          reference: any((a: never, b: never) => matmulReference(a, b, turnA, turnB)),
          truth: (a, b) => matmul64(a, b, m, k, n, turnA, turnB),
        }),
      ),
      RUNS,
    ));

  it('linear with a bias', () =>
    fc.assert(
      fc.asyncProperty(size(6), size(7), size(9), seed, (t, d, f, s) =>
        judge({
          shapes: [[t, d], [f, d], [f]],
          seed: s,
          operation: any(linear),
          reference: any(linearReference),
          truth: (x, w, bias) => linear64(x, w, bias, t, d, f),
        }),
      ),
      RUNS,
    ));

  // From two channels on: with one, y = ± w and the gradient is nothing but cancellation.
  it('rmsNorm', () =>
    fc.assert(
      fc.asyncProperty(size(5), fc.integer({ min: 2, max: 9 }), seed, (t, d, s) =>
        judge({
          shapes: [[t, d], [d]],
          seed: s,
          operation: any((x: never, w: never) => rmsNorm(x, w, 1e-5)),
          reference: any((x: never, w: never) => rmsNormReference(x, w, 1e-5)),
          truth: (x, w) => rmsNorm64(x, w, d, 1e-5),
        }),
      ),
      RUNS,
    ));

  it('rope', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(200), { minLength: 1, maxLength: 5 }),
        size(3),
        size(4),
        seed,
        (p, h, half, s) => {
          const position_T = Int32Array.from(p);
          return judge({
            shapes: [[p.length, h, 2 * half]],
            seed: s,
            operation: any((x: never) => rope(x, position_T, 100)),
            reference: any((x: never) => ropeReference(x, position_T, rotaryFrequencies(100, half))),
            truth: x => rope64(x, h, 2 * half, p, 100),
          });
        },
      ),
      RUNS,
    ));

  it('swiglu', () =>
    fc.assert(
      fc.asyncProperty(size(6), size(7), seed, (t, f, s) =>
        judge({
          shapes: [
            [t, f],
            [t, f],
          ],
          seed: s,
          operation: any(swiglu),
          reference: any(swigluReference),
          truth: swiglu64,
        }),
      ),
      RUNS,
    ));

  it('attention with grouped heads, segments, padding and a cache', () => {
    const segments = (length: number) =>
      fc.array(fc.integer({ min: -1, max: 2 }), { minLength: length, maxLength: length });
    const layout = fc
      .tuple(size(2), size(5), fc.nat(3), size(3), size(2), size(4))
      .chain(([batch, queries, past, ratio, groups, d]) =>
        fc.record({
          sizes: fc.constant({ batch, queries, keys: queries + past, heads: ratio * groups, groups, d }),
          querySegment: segments(batch * queries),
          keySegment: segments(batch * (queries + past)),
          window: fc.constantFrom(2 ** 30, 1, 2, 3),
        }),
      );
    return fc.assert(
      fc.asyncProperty(layout, seed, ({ sizes, querySegment, keySegment, window }, s) => {
        const { batch, queries, keys, heads, groups, d } = sizes;
        const [qs, ks] = [Int32Array.from(querySegment), Int32Array.from(keySegment)];
        return judge({
          shapes: [
            [batch, queries, heads, d],
            [batch, keys, groups, d],
            [batch, keys, groups, d],
          ],
          seed: s,
          operation: any((q: never, k: never, v: never) => attention(q, k, v, qs, ks, window)),
          reference: any((q: never, k: never, v: never) => attentionReference(q, k, v, qs, ks, window)),
          truth: (q, k, v) => attention64(q, k, v, sizes, querySegment, keySegment, window),
        });
      }),
      RUNS,
    );
  });

  it('embedding, with tokens that repeat', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.nat(4), { minLength: 1, maxLength: 9 }), size(5), seed, (ids, d, s) => {
        const id_T = Int32Array.from(ids);
        return judge({
          shapes: [[5, d]],
          seed: s,
          operation: any((w: never) => embedding(w, id_T)),
          reference: any((w: never) => embeddingReference(w, id_T)),
          truth: w => gather64(w, d, ids, 1),
        });
      }),
      RUNS,
    ));

  it('crossEntropy, with ignored labels', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(-100, 0, 1, 5), { minLength: 1, maxLength: 6 }), seed, (labels, s) => {
        const label_T = Int32Array.from(labels);
        return judge({
          shapes: [[labels.length, 6]],
          seed: s,
          operation: any((x: never) => crossEntropy(x, label_T)),
          reference: any((x: never) => crossEntropyReference(x, label_T)),
          truth: x => crossEntropy64(x, labels, 6),
        });
      }),
      RUNS,
    ));

  it('gatherRows, with and without the inverse table', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 9 }),
        size(5),
        seed,
        (index, d, s) => {
          const index_M = Int32Array.from(index);
          const width = index.length;
          const inverse_NR = new Int32Array(4 * width).fill(-1);
          index.forEach((row, j) => {
            if (row >= 0) inverse_NR[row * width + j] = j;
          });
          const truth = { shapes: [[4, d]], seed: s, truth: (x: Float64Array) => gather64(x, d, index, 1) };
          return judge({ ...truth, operation: any((x: never) => gatherRows(x, index_M, inverse_NR)) }).then(() =>
            judge({
              ...truth,
              operation: any((x: never) => gatherRows(x, index_M)),
              reference: any((x: never) => gatherRowsReference(x, index_M)),
            }),
          );
        },
      ),
      RUNS,
    ));

  it('combine, with dropped slots', () =>
    fc.assert(
      fc.asyncProperty(size(4), size(3), size(5), fc.nat(2), seed, (tokens, k, d, drop, s) => {
        const slots = tokens * k;
        const inverse_TK = Int32Array.from({ length: slots }, (_, n) => (n % 4 < drop ? -1 : slots - 1 - n));
        return judge({
          shapes: [
            [slots, d],
            [tokens, k],
          ],
          seed: s,
          operation: any((y: never, gate: never) => combine(y, inverse_TK, gate)),
          reference: any((y: never, gate: never) => combineReference(y, inverse_TK, gate)),
          truth: (y, gate) => gather64(y, d, inverse_TK, k, gate),
        });
      }),
      RUNS,
    ));

  it('groupedLinear, with empty segments', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(4), { minLength: 1, maxLength: 4 }),
        size(5),
        size(6),
        seed,
        (drawn, d, f, s) => {
          const counts = [drawn[0] + 1, ...drawn.slice(1)]; // a drawn value must not be changed, or shrinking never ends
          const offsets_E1 = Int32Array.from([
            0,
            ...counts.map((_, e) => counts.slice(0, e + 1).reduce((a, b) => a + b)),
          ]);
          const rows = offsets_E1[counts.length];
          return judge({
            shapes: [[rows, d], ...counts.map(() => [f, d])],
            seed: s,
            operation: any((x: never, ...w: never[]) => groupedLinear(x, w, offsets_E1)),
            reference: any((x: never, ...w: never[]) => groupedLinearReference(x, w, offsets_E1)),
            truth: (x, ...w) => groupedLinear64(x, w, d, f, offsets_E1),
          });
        },
      ),
      RUNS,
    ));
});
