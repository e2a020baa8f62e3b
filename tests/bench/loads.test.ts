// Each kind of load is what it says: counts by hand, different experts for a token always, the same from the same seed.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expertIds, LOADS, type LoadKind, type LoadShape } from '../../src/bench/loads.ts';
import { createRng } from '../../src/train/rng.ts';

const draw = (load: LoadKind, shape: LoadShape, seed = 'a'): Int32Array => expertIds(load, shape, createRng(seed));

function counts(expertId_TK: Int32Array, experts: number): number[] {
  const count_E = new Array<number>(experts).fill(0);
  for (const e of expertId_TK) count_E[e]++;
  return count_E;
}

const shapes = fc
  .record({
    tokens: fc.integer({ min: 0, max: 200 }),
    experts: fc.integer({ min: 1, max: 20 }),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ tokens, experts, cut }) => ({ tokens, experts, choices: Math.max(1, Math.ceil(cut * experts)) }));

test('k different experts of 0 … E − 1 for each token; the same from the same seed', () => {
  fc.assert(
    fc.property(fc.constantFrom(...LOADS), shapes, fc.string(), (load, shape, seed) => {
      const { tokens, experts, choices } = shape;
      const ids = draw(load, shape, seed);
      expect(ids.length).toBe(tokens * choices);
      expect(ids.every(e => e >= 0 && e < experts)).toBe(true);
      for (let t = 0; t < tokens; t++) expect(new Set(ids.subarray(t * choices, (t + 1) * choices)).size).toBe(choices);
      expect(draw(load, shape, seed)).toEqual(ids);
    }),
  );
});

test('balanced: counts differ by one at most, and tokens are shuffled', () => {
  fc.assert(
    fc.property(shapes, shape => {
      const count_E = counts(draw('balanced', shape), shape.experts);
      expect(Math.max(...count_E) - Math.min(...count_E)).toBeLessThanOrEqual(1);
    }),
  );
  expect(counts(draw('balanced', { tokens: 10, experts: 7, choices: 2 }), 7)).toEqual([3, 3, 3, 3, 3, 3, 2]);
  const shape = { tokens: 100, experts: 8, choices: 2 };
  expect(draw('balanced', shape, 'b')).not.toEqual(draw('balanced', shape, 'a'));
  const inTurn = Int32Array.from({ length: 200 }, (_, slot) => slot % 8);
  expect(draw('balanced', shape)).not.toEqual(inTurn);
});

test('zipf: the expert of rank r in proportion to 1/r', () => {
  const tokens = 60_000;
  const share_E = counts(draw('zipf', { tokens, experts: 4, choices: 1 }), 4).map(count => count / tokens);
  [12, 6, 4, 3].forEach((parts, e) => {
    expect(Math.abs(share_E[e] - parts / 25)).toBeLessThan(0.01); // five standard errors
  });
  // Two of three without replacement: expert 0 (6/11) is missing where 1 (3/11), then 2 come first, or 2 (2/11), then 1.
  const missing = 1 - counts(draw('zipf', { tokens, experts: 3, choices: 2 }), 3)[0] / tokens;
  expect(Math.abs(missing - ((3 / 11) * (2 / 8) + (2 / 11) * (3 / 9)))).toBeLessThan(0.01);
});

test('one-hot: everybody’s first choice is expert 0; empty: every second expert gets nothing', () => {
  expect(draw('one-hot', { tokens: 5, experts: 3, choices: 1 })).toEqual(new Int32Array(5));
  expect(draw('one-hot', { tokens: 4, experts: 1, choices: 1 })).toEqual(new Int32Array(4));
  expect(counts(draw('one-hot', { tokens: 8, experts: 5, choices: 2 }), 5)).toEqual([8, 2, 2, 2, 2]);
  expect(counts(draw('empty', { tokens: 8, experts: 7, choices: 2 }), 7)).toEqual([4, 0, 4, 0, 4, 0, 4]);
  expect(counts(draw('empty', { tokens: 6, experts: 4, choices: 3 }), 4)).toEqual([6, 6, 6, 0]); // three are needed
});

test('burst: runs of tokens with the same choices, of 1 to 512 and of different lengths', () => {
  const ids = draw('burst', { tokens: 20_000, experts: 64, choices: 2 });
  const lengths: number[] = [];
  for (let t = 0, start = 0; t < 20_000; t++) {
    if (t === 0) continue;
    if (ids[2 * t] === ids[2 * t - 2] && ids[2 * t + 1] === ids[2 * t - 1]) continue;
    lengths.push(t - start);
    start = t;
  }
  expect(Math.max(...lengths)).toBeLessThanOrEqual(512);
  expect(lengths.length).toBeGreaterThan(40);
  expect(lengths.length).toBeLessThan(200);
  expect(new Set(lengths).size).toBeGreaterThan(30);
});

test('more choices than experts cannot be', () => {
  expect(() => draw('zipf', { tokens: 1, experts: 2, choices: 3 })).toThrow(
    '3 different experts cannot be chosen of 2',
  );
});
