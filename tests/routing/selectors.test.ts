// The pure selectors: who is chosen, from scores on the host.
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { describe, expect, test } from 'vitest';
import { expertChoice } from '../../routing/expert-choice.ts';
import { hashRouting } from '../../routing/hash.ts';
import { hybridK } from '../../routing/hybrid-k.ts';
import { languageSpecific } from '../../routing/language.ts';
import { topK } from '../../routing/top-k.ts';

/** Scores with many ties, so that the tie rule is exercised. */
const scoreCase = fc
  .record({ experts: fc.integer({ min: 1, max: 9 }), tokens: fc.integer({ min: 0, max: 12 }) })
  .chain(({ experts, tokens }) =>
    fc.record({
      experts: fc.constant(experts),
      tokens: fc.constant(tokens),
      k: fc.integer({ min: 1, max: experts }),
      scores: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: tokens * experts, maxLength: tokens * experts }),
      languages: fc.array(fc.integer({ min: -1, max: experts - 1 }), { minLength: tokens, maxLength: tokens }),
    }),
  );
const rowsOf = (ids: Int32Array, k: number) =>
  Array.from({ length: ids.length / k }, (_, t) => Array.from(ids.subarray(t * k, (t + 1) * k)));

describe('top-k', () => {
  test('falling score, ties to the lower id', () => {
    expect(rowsOf(topK([0.1, 0.4, 0.1, 0.4, /**/ 1, 1, 1, 1, /**/ 0, 1, 2, 3], 4, 3), 3)).toEqual([
      [1, 3, 0],
      [0, 1, 2],
      [3, 2, 1],
    ]);
  });

  test('equals a stable sort by falling score', () => {
    fc.assert(
      fc.property(scoreCase, ({ experts, k, scores }) => {
        rowsOf(topK(scores, experts, k), k).forEach((row, t) => {
          const score = (e: number) => scores[t * experts + e];
          const sorted = Array.from({ length: experts }, (_, e) => e).sort((a, b) => score(b) - score(a) || a - b);
          expect(row).toEqual(sorted.slice(0, k));
        });
      }),
      { numRuns: 500 },
    );
  });

  test('scores that are not numbers still give different experts', () => {
    expect(rowsOf(topK([Number.NaN, Number.NaN, Number.NaN], 3, 2), 2)).toEqual([[0, 1]]);
  });
});

describe('hybrid-k', () => {
  const four = [0.643914, 0.236883, 0.087144, 0.032059];
  const seven = [0.144797, 0.160026, 0.131018, 0.11855, 0.176856, 0.131018, 0.137735];
  test.each([
    [four, 3, [0, 3]],
    [four, 1, [0, 1]],
    [four, 0, [0, 1]],
    [four, -1, [0, 1]],
    [seven, 3, [4, 3]],
    [seven, 1, [4, 1]],
    [seven, 4, [4, 1]],
  ])('%j with language expert %i', (scores, language, expected) => {
    expect(Array.from(hybridK(scores, scores.length, 2, Int32Array.of(language)))).toEqual(expected);
  });

  test('the language expert is always in, and at most one slot, the last, differs from top-k', () => {
    fc.assert(
      fc.property(scoreCase, ({ experts, k, scores, languages }) => {
        const plain = rowsOf(topK(scores, experts, k), k);
        rowsOf(hybridK(scores, experts, k, Int32Array.from(languages)), k).forEach((row, t) => {
          if (languages[t] >= 0) expect(row).toContain(languages[t]);
          else expect(row).toEqual(plain[t]);
          expect(row.slice(0, -1)).toEqual(plain[t].slice(0, -1));
          expect(new Set(row).size).toBe(k);
        });
      }),
      { numRuns: 500 },
    );
  });
});

test('language-specific: the language decides with gate 1; an unknown language takes the first choice', () => {
  const scores = [0.1, 0.7, 0.2, /**/ 0.1, 0.7, 0.2];
  expect(languageSpecific(scores, 3, Int32Array.of(2, -1))).toEqual({
    expertId_TK: Int32Array.of(2, 1),
    k: 1,
    fixedGate_TK: Float32Array.of(1, -1),
  });
});

describe('expert choice', () => {
  // Three tokens, two experts, k = 1: C = ⌈3·1/2⌉ = 2 places each; ties go to the earlier token.
  test('worked by hand', () => {
    const p = [0.9, 0.1, /**/ 0.6, 0.4, /**/ 0.6, 0.4];
    expect(expertChoice(p, 2, 1, Uint8Array.of(1, 1, 1))).toEqual({
      expertId_TK: Int32Array.of(0, -1, 0, 1, 1, -1),
      k: 2,
    });
  });

  test('padding is never chosen and does not raise the number of places', () => {
    const p = [0.9, 0.1, /**/ 0.6, 0.4, /**/ 0.6, 0.4];
    const { expertId_TK, k } = expertChoice(p, 2, 1, Uint8Array.of(0, 1, 1));
    expect(rowsOf(expertId_TK, k)).toEqual([
      [-1, -1],
      [0, 1],
      [-1, -1],
    ]);
  });

  test('every expert serves exactly C tokens, its best ones', () => {
    fc.assert(
      fc.property(scoreCase, ({ experts, tokens, k, scores }) => {
        const chosen = expertChoice(scores, experts, k, new Uint8Array(tokens).fill(1));
        const rows = rowsOf(chosen.expertId_TK, chosen.k);
        const places = Math.min(tokens, Math.ceil((tokens * k) / experts));
        for (let e = 0; e < experts; e++) {
          const taken = rows.flatMap((row, t) => (row.includes(e) ? [t] : []));
          expect(taken.length).toBe(places);
          const worst = Math.min(...taken.map(t => scores[t * experts + e]));
          rows.forEach((row, t) => {
            if (!row.includes(e)) expect(scores[t * experts + e]).toBeLessThanOrEqual(worst);
          });
        }
      }),
      { numRuns: 300 },
    );
  });

  test('no counted token at all', () => {
    expect(expertChoice([0.5, 0.5], 2, 1, Uint8Array.of(0))).toEqual({ expertId_TK: Int32Array.of(-1), k: 1 });
  });
});

describe('hash', () => {
  const equal = { seed: 0, gate: 'equal' as const };

  test('is a constant of the program: same ids in every process and version', () => {
    const { expertId_TK, fixedGate_TK } = hashRouting(Int32Array.of(0, 1, 2, 3, 151643), 7, 2, equal);
    // The same five rows come from the hash written in Python with arbitrary-precision integers cut to 32 bits.
    expect(rowsOf(expertId_TK, 2)).toEqual([
      [6, 2],
      [1, 6],
      [6, 4],
      [5, 6],
      [2, 5],
    ]);
    expect(fixedGate_TK).toEqual(new Float32Array(10).fill(0.5));
  });

  test('equal tokens agree, the k experts differ, another seed is another hash', () => {
    const ids = Int32Array.from({ length: 500 }, (_, i) => i % 250);
    const rows = rowsOf(hashRouting(ids, 7, 3, equal).expertId_TK, 3);
    expect(rows.slice(0, 250)).toEqual(rows.slice(250));
    for (const row of rows) expect(new Set(row).size).toBe(3);
    expect(rowsOf(hashRouting(ids, 7, 3, { ...equal, seed: 1 }).expertId_TK, 3)).not.toEqual(rows);
  });

  test('spreads ids evenly: 70,000 ids over 7 experts within 4 standard deviations, in the first and the second place', () => {
    const ids = Int32Array.from({ length: 70_000 }, (_, i) => i);
    const { expertId_TK } = hashRouting(ids, 7, 2, equal);
    for (const place of [0, 1]) {
      const count = new Array(7).fill(0);
      ids.forEach((_, t) => {
        count[expertId_TK[t * 2 + place]] += 1;
      });
      const deviation = Math.sqrt(70_000 * (1 / 7) * (6 / 7));
      for (const n of count) expect(Math.abs(n - 10_000)).toBeLessThan(4 * deviation);
    }
  });

  test('gates from the router when asked', () => {
    const { fixedGate_TK } = hashRouting(Int32Array.of(5), 4, 2, { seed: 0, gate: 'probability' });
    expect(fixedGate_TK).toBeUndefined();
  });
});

test('selectors do not touch their inputs', () => {
  const random = seedrandom('selectors');
  const scores = Float32Array.from({ length: 24 }, random);
  const before = scores.slice();
  topK(scores, 4, 2);
  hybridK(scores, 4, 2, Int32Array.of(0, 1, 2, 3, 0, 1));
  languageSpecific(scores, 4, Int32Array.of(0, 1, 2, 3, 0, 1));
  expertChoice(scores, 4, 2, new Uint8Array(6).fill(1));
  expect(scores).toEqual(before);
});
