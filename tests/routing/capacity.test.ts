// Capacity: who is dropped when an expert is full.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { applyCapacity, expertCapacity } from '../../routing/capacity.ts';

test.each([
  [1, 8, 2, 4, 4],
  [1.25, 8, 2, 4, 5],
  [1, 3, 1, 2, 2],
  [0.01, 3, 1, 2, 1],
])('capacity of factor %d, %i tokens, k %i, %i experts is %i', (factor, tokens, k, experts, expected) => {
  expect(expertCapacity(factor, tokens, k, experts)).toBe(expected);
});

test('first choices go before second ones, later tokens lose, empty slots are not counted as dropped', () => {
  // Tokens (0,1) (2,0) (0,2) (−,0) at capacity 2: the first choices fill expert 0, so the second token's second one is dropped.
  expect(applyCapacity(Int32Array.of(0, 1, 2, 0, 0, 2, -1, 0), 2, 3, 2)).toEqual({
    expertId_TK: Int32Array.of(0, 1, 2, -1, 0, 2, -1, -1),
    dropped: 2,
  });
  expect(applyCapacity(Int32Array.of(1, 1, 0, 1), 1, 2, 2).expertId_TK).toEqual(Int32Array.of(1, 1, 0, -1));
});

test('no expert goes over, none under capacity loses a slot, and what is kept is kept in place', () => {
  const rows = (k: number) => fc.array(fc.array(fc.integer({ min: -1, max: 4 }), { minLength: k, maxLength: k }));
  const routed = fc.integer({ min: 1, max: 3 }).chain(k => fc.tuple(fc.constant(k), rows(k)));
  fc.assert(
    fc.property(routed, fc.integer({ min: 1, max: 12 }), ([k, tokens], capacity) => {
      const list = tokens.flat();
      const { expertId_TK, dropped } = applyCapacity(Int32Array.from(list), k, 5, capacity);
      for (let e = 0; e < 5; e++) {
        const asked = list.filter(id => id === e).length;
        expect(expertId_TK.filter(id => id === e).length).toBe(Math.min(asked, capacity));
      }
      expertId_TK.forEach((id, n) => {
        if (id >= 0) expect(id).toBe(list[n]);
      });
      expect(dropped).toBe(expertId_TK.filter((id, n) => id !== list[n]).length);
    }),
    { numRuns: 500 },
  );
});
