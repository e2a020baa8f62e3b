// The dispatch plan: worked by hand, against the oracle, and the properties that every backend relies on.
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { expect, test } from 'vitest';
import { type DispatchPlan, planDispatch } from '../../experts/dispatch/plan.ts';
import { referencePlan } from '../../experts/dispatch/reference.ts';

test('worked by hand: 3 tokens, 2 choices, 4 experts, one slot dropped, expert 1 empty', () => {
  // Slots: (2,0) (0,−) (3,2).
  expect(planDispatch(Int32Array.of(2, 0, 0, -1, 3, 2), 2, 4)).toEqual({
    rank_N: Int32Array.of(0, 0, 1, -1, 0, 1),
    offsets_E1: Int32Array.of(0, 2, 2, 4, 5),
    inverse_N: Int32Array.of(2, 0, 1, -1, 4, 3),
    slot_M: Int32Array.of(1, 2, 0, 5, 4),
    token_M: Int32Array.of(0, 1, 0, 2, 2),
  });
});

test('no tokens at all', () => {
  expect(planDispatch(new Int32Array(0), 2, 3)).toEqual({
    rank_N: new Int32Array(0),
    offsets_E1: new Int32Array(4),
    inverse_N: new Int32Array(0),
    slot_M: new Int32Array(0),
    token_M: new Int32Array(0),
  });
});

/** Slots of T tokens: any ids, all to one expert, or only a few experts used; a share of slots dropped. */
const planCase = fc
  .record({
    tokens: fc.integer({ min: 0, max: 40 }),
    k: fc.integer({ min: 1, max: 4 }),
    experts: fc.integer({ min: 1, max: 12 }),
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

const written = (plan: DispatchPlan) =>
  [plan.rank_N, plan.offsets_E1, plan.inverse_N, plan.slot_M, plan.token_M].join(' | ');

test('equals the oracle', () => {
  fc.assert(
    fc.property(planCase, ({ ids, k, experts }) => {
      expect(written(planDispatch(ids, k, experts))).toBe(written(referencePlan(ids, k, experts)));
    }),
    { numRuns: 3000 },
  );
});

test('slots and rows are a permutation of each other, grouped by expert, stable, with true offsets', () => {
  fc.assert(
    fc.property(planCase, ({ ids, k, experts }) => {
      const { offsets_E1, inverse_N, slot_M, token_M, rank_N } = planDispatch(ids, k, experts);
      const kept = ids.filter(e => e >= 0).length;
      expect(slot_M.length).toBe(kept);
      expect([offsets_E1[0], offsets_E1[experts]]).toEqual([0, kept]);
      expect(Array.from(inverse_N.filter(row => row >= 0)).sort((a, b) => a - b)).toEqual([...slot_M.keys()]);
      slot_M.forEach((slot, row) => {
        const e = ids[slot];
        const inSegment = row >= offsets_E1[e] && row < offsets_E1[e + 1] && row - offsets_E1[e] === rank_N[slot];
        const stable = row === offsets_E1[e] || slot > slot_M[row - 1];
        // One plain condition per row: a thousand cases of `expect` per element would be most of this room's test time.
        if (inverse_N[slot] !== row || token_M[row] !== Math.floor(slot / k) || !inSegment || !stable)
          throw new Error(`row ${row} with slot ${slot} of expert ${e} is out of place`);
      });
    }),
    { numRuns: 1000 },
  );
});
