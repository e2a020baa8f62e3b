// Families out of routing: groups of equal size and of average linkage, their number, agreement of maps, and what others derive from
// weights and hidden states: layers to expand, experts per layer.
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { describe, expect, test } from 'vitest';
import { documentCountsOf } from '../../analysis/read/document-counts.ts';
import { adjustedRand, agreement } from '../../analysis/regroup/adjusted-rand.ts';
import { balancedGroups } from '../../analysis/regroup/balanced.ts';
import { regroupLanguages } from '../../analysis/regroup/choose-groups.ts';
import { expertNumbers, expertNumbersRoundedUp, expertShares } from '../../analysis/regroup/layer-experts.ts';
import { layerMask, layersOfMask, layersToExpand } from '../../analysis/regroup/layer-mask.ts';
import { type TinyToken, tinyTrace } from '../helpers/tiny-trace.ts';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('adjusted Rand index', () => {
  test('by hand', () => {
    // Groups {0,1,2}{3,4,5} and {0,1}{2,3}{4,5}: Σ C(n_ij, 2) = 2, A = 6, B = 3, C(6, 2) = 15.
    const value = adjustedRand([0, 0, 0, 1, 1, 1], ['a', 'a', 'b', 'b', 'c', 'c']);
    expect(value).toBeCloseTo((2 - 18 / 15) / (4.5 - 18 / 15), 12);
  });

  test('1 for the same groups under any names, about 0 by chance', () => {
    const labels = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 2, maxLength: 30 });
    fc.assert(
      fc.property(labels, a => {
        expect(
          adjustedRand(
            a,
            a.map(x => `${9 - x}`),
          ),
        ).toBe(1);
      }),
    );
    const random = seedrandom('rand');
    const draw = () => Array.from({ length: 30 }, () => Math.floor(3 * random()));
    const values = Array.from({ length: 400 }, () => adjustedRand(draw(), draw()));
    expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / 400)).toBeLessThan(0.01);
    expect(adjustedRand([0], [0])).toBeNaN();
    expect(adjustedRand([0, 0, 0], [0, 1, 2])).toBe(0);
  });

  test('p: small for one map against itself, exact in its smallest value, uniform-ish by chance', () => {
    const map = range(0, 19).map(i => i % 4);
    const same = agreement(map, map, 199, seedrandom('p'));
    expect(same).toMatchObject({ rand: 1, p: 1 / 200, permutations: 199 });
    expect(same.random95).toBeGreaterThan(0);
    expect(same.random95).toBeLessThan(0.3);
    const random = seedrandom('chance');
    const other = range(0, 19).map(() => Math.floor(4 * random()));
    expect(agreement(map, other, 199, seedrandom('q')).p).toBeGreaterThan(0.05);
  });
});

/** Distances of points on a line. */
const onLine = (points: number[]): Float64Array =>
  Float64Array.from(points.flatMap(a => points.map(b => Math.abs(a - b))));

describe('groups of equal size', () => {
  test('the tightest first, by largest pair distance', () => {
    expect([...balancedGroups(onLine([0, 10, 1, 11, 2, 13]), 6, 2)]).toEqual([0, 1, 0, 1, 0, 1]);
    // 0 and 1 are nearest; then 2 is left with 9, however far.
    expect([...balancedGroups(onLine([0, 1, 2, 9]), 4, 2)]).toEqual([0, 0, 1, 1]);
  });

  test('of equals the lower ids, and the first groups are larger where sizes differ', () => {
    expect([...balancedGroups(new Float64Array(49).fill(1), 7, 3)]).toEqual([0, 0, 0, 1, 1, 2, 2]);
    expect([...balancedGroups(new Float64Array(9).fill(1), 3, 3)]).toEqual([0, 1, 2]);
  });

  test('each is the tightest of all groups of its size among what is left', () => {
    const subsets = (ids: number[], size: number): number[][] =>
      size === 0 ? [[]] : ids.flatMap((id, i) => subsets(ids.slice(i + 1), size - 1).map(rest => [id, ...rest]));
    const points = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(points, points, (x, y) => {
        const distance = Float64Array.from(
          range(0, 63),
          cell => Math.abs(x[Math.floor(cell / 8)] - x[cell % 8]) + Math.abs(y[Math.floor(cell / 8)] - y[cell % 8]),
        );
        const group = [...balancedGroups(distance, 8, 2)];
        const widest = (set: number[]): number => Math.max(...set.flatMap(i => set.map(j => distance[i * 8 + j])));
        const members = [0, 1].map(g => range(0, 7).filter(i => group[i] === g));
        const least = Math.min(...subsets(range(0, 7), 4).map(widest));
        expect(Math.min(...members.map(widest))).toBe(least);
        expect(members.map(({ length }) => length)).toEqual([4, 4]);
      }),
      { numRuns: 60 },
    );
  });

  test('fifty languages in two groups take no time', () => {
    const random = seedrandom('fifty');
    const points = Array.from({ length: 50 }, () => [random(), random(), random()]);
    const distance = Float64Array.from(
      points.flatMap(a => points.map(b => Math.hypot(...a.map((value, i) => value - b[i])))),
    );
    const start = performance.now();
    for (const groups of [2, 3, 7]) balancedGroups(distance, 50, groups);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('families of routing', () => {
  /** Languages a b c go to expert 0 or 1, d e f to 2 or 3, in documents of ten tokens; g has none. */
  function trace(noise: number) {
    const random = seedrandom('regroup');
    const tokens: TinyToken[] = [];
    for (const [l, language] of [...'abcdef'].entries())
      for (const d of range(0, 5))
        for (const _ of range(0, 9)) {
          const half = random() < noise ? Math.floor(2 * random()) : Math.floor(l / 3);
          const expert = 2 * half + Math.floor(2 * random());
          tokens.push({ language, document: `${language}${d}`, layers: [[[expert, 1]]] });
        }
    return tinyTrace(tokens, 4);
  }
  const options = { layers: [0], counts: [2, 3, 4], draws: 40, random: seedrandom('draws') };

  test.each(['average', 'balanced'] as const)('two planted families are found: %s', method => {
    const planted = trace(0);
    const found = regroupLanguages(documentCountsOf(planted), planted.header, { ...options, method });
    expect(found.languages).toEqual([0, 1, 2, 3, 4, 5]);
    expect(found.chosen.groups).toBe(2);
    expect([...found.chosen.group]).toEqual([0, 0, 0, 1, 1, 1]);
    expect(found.chosen.stability).toBe(1);
    expect(found.stable).toBe(true);
    expect(found.chosen.silhouette).toBeGreaterThan(0.7);
  });

  test('languages that route alike have no stable families', () => {
    const alike = trace(1);
    const found = regroupLanguages(documentCountsOf(alike), alike.header, { ...options, method: 'average' });
    expect(found.stable).toBe(false);
    expect(found.groupings.every(({ stability }) => stability! < 0.6)).toBe(true);
  });
});

describe('layers that deviate', () => {
  test('the published masks are sums of powers of two', () => {
    const bloom560 = [...range(0, 4), ...range(20, 23)];
    expect(layerMask(bloom560)).toBe(15_728_671);
    expect(layerMask(range(21, 23))).toBe(14_680_064);
    expect(layersOfMask(15_728_671)).toEqual(bloom560);
    expect(layersOfMask(14_680_064)).toEqual(range(21, 23));
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 52 })), layers => {
        expect(layersOfMask(layerMask(layers))).toEqual(layers.sort((a, b) => a - b));
      }),
    );
  });

  test('means over languages, scaled by least and most, at ε or more', () => {
    // Means 4 2 1 2 3.4 5: scaled .75 .25 0 .25 .6 1.
    const deviations = [
      [5, 2, 1, 3, 3.4, 5],
      [3, 2, 1, 1, 3.4, 5],
    ];
    expect(layersToExpand(deviations, 0.6)).toEqual([0, 4, 5]);
    expect(layersToExpand(deviations, 0.8)).toEqual([5]);
    expect(layerMask(layersToExpand(deviations, 0.6))).toBe(1 + 16 + 32);
    expect(layersToExpand([[2, 2]], 0.6)).toEqual([]);
  });
});

describe('experts per layer', () => {
  test('the printed example: rounding up overshoots, ours sums to what was asked', () => {
    const similarity = [0.8, 0.4, 0.2];
    expect(expertShares(similarity, 12).map(share => share.toFixed(2))).toEqual(['1.71', '3.43', '6.86']);
    expect(expertNumbersRoundedUp(similarity, 12)).toEqual([2, 4, 7]);
    expect(expertNumbers(similarity, 12)).toEqual([2, 3, 7]);
    expect(expertNumbersRoundedUp([1, 0.5], 3)).toEqual([1, 2]);
    expect(expertNumbers([0.5, -0.2], 10)).toEqual([0, 10]); // no likeness at all: clamped, not negative
  });

  test('any numbers sum to the total and differ from the shares by less than one', () => {
    const similarity = fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(similarity, fc.integer({ min: 1, max: 200 }), (s, total) => {
        const numbers = expertNumbers(s, total);
        expect(numbers.reduce((a, b) => a + b, 0)).toBe(total);
        for (const [l, share] of expertShares(s, total).entries())
          expect(Math.abs(numbers[l] - share)).toBeLessThan(1 + 1e-6);
        expect(expertNumbersRoundedUp(s, total).reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(total);
      }),
    );
  });
});
