// The plan by cumulative sums, on every backend: the integers of planDispatch, worked by hand and over random routings.
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, test } from 'vitest';
import { planDispatch } from '../../experts/dispatch/plan.ts';
import { planByCumulativeSum } from '../../experts/dispatch/tensorflow.ts';
import { tf } from '../../src/engine/tf.ts';
import { backends, use } from '../engine/backends.ts';

const FIELDS = ['rank_N', 'offsets_E1', 'inverse_N', 'slot_M', 'token_M'] as const;

/** The integers of the plan by tensors; their type must be int32. */
function planned(ids: Int32Array, k: number, experts: number): Record<string, number[]> {
  return Object.fromEntries(
    tf.tidy(() => {
      const plan = planByCumulativeSum(tf.tensor2d(ids, [ids.length / k, k], 'int32'), k, experts);
      return FIELDS.map(field => {
        expect(plan[field].dtype, field).toBe('int32');
        return [field, Array.from(plan[field].dataSync())] as [string, number[]];
      });
    }) as never,
  );
}

/** The host's plan with −1 beyond the last row. */
function wanted(ids: Int32Array, k: number, experts: number): Record<string, number[]> {
  const plan = planDispatch(ids, k, experts);
  const filled = (rows: Int32Array): number[] => Array.from(ids, (_, row) => rows[row] ?? -1);
  return Object.fromEntries(
    FIELDS.map(field => [field, field.endsWith('_M') ? filled(plan[field]) : Array.from(plan[field])]),
  );
}

/** Slots of T tokens: any ids, all to one expert, or only a few experts used; a share of slots without one. */
const routing = fc
  .record({
    tokens: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 200, max: 300 })),
    k: fc.integer({ min: 1, max: 4 }),
    experts: fc.constantFrom(1, 2, 7, 8, 64, 128),
    used: fc.double({ min: 0, max: 1, noNaN: true }),
    dropped: fc.constantFrom(0, 0, 0.2, 1),
    seed: fc.integer(),
  })
  .map(({ tokens, k, experts, used, dropped, seed }) => {
    const random = seedrandom(String(seed));
    const few = Math.max(1, Math.ceil(used * experts));
    const id = () => (random() < dropped ? -1 : experts - 1 - Math.floor(random() * few));
    return { k, experts, ids: Int32Array.from({ length: tokens * k }, id) };
  });

describe.each(backends)('on %s', backend => {
  beforeAll(async () => void (await use(backend)));

  test('worked by hand: 3 tokens, 2 choices, 4 experts, one slot without an expert, expert 1 empty', () => {
    expect(planned(Int32Array.of(2, 0, 0, -1, 3, 2), 2, 4)).toEqual({
      rank_N: [0, 0, 1, -1, 0, 1],
      offsets_E1: [0, 2, 2, 4, 5],
      inverse_N: [2, 0, 1, -1, 4, 3],
      slot_M: [1, 2, 0, 5, 4, -1],
      token_M: [0, 1, 0, 2, 2, -1],
    });
  });

  test('the integers of planDispatch, also for no tokens, one expert, and nobody served', () => {
    const edges = [0, 1, 2].flatMap(tokens =>
      [0, -1].map(id => ({ ids: new Int32Array(2 * tokens).fill(id), k: 2, experts: 1 })),
    );
    for (const { ids, k, experts } of edges) expect(planned(ids, k, experts)).toEqual(wanted(ids, k, experts));
    fc.assert(
      fc.property(routing, ({ ids, k, experts }) => {
        expect(planned(ids, k, experts)).toEqual(wanted(ids, k, experts));
      }),
      { numRuns: 150 },
    );
  });
});
