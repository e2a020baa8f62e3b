// Choosing experts, controls, paired effects, verdicts and the CSV: numbers by hand.
import seedrandom from 'seedrandom';
import { describe, expect, test } from 'vitest';
import type { Language } from '../../src/data/types.ts';
import {
  activationDifference,
  byDifference,
  exclusive,
  exclusiveShares,
  ownExperts,
  ranked,
} from '../../src/intervene/choose.ts';
import { randomMatched, wrongLayers } from '../../src/intervene/controls.ts';
import { gridCsv } from '../../src/intervene/csv.ts';
import { effectOf, type PairedDocument, studentT975 } from '../../src/intervene/effect.ts';
import type { GridColumn } from '../../src/intervene/grid.ts';
import { planExperts, planShares } from '../../src/intervene/plan.ts';
import { type ExpertSums, type ExpertUsage, tokenShare } from '../../src/intervene/usage.ts';
import { moduleVerdict, nullOf } from '../../src/intervene/verdict.ts';

/** Usage of one token per language from the shares of tokens that choose each expert; null for a language without text. */
function usageOf(layers: Record<number, (number[] | null)[]>, k = 1): ExpertUsage {
  const row = (share: number[]): ExpertSums => ({
    tokens: 10,
    chosen_E: Float64Array.from(share, a => 10 * a),
    first_E: Float64Array.from(share, a => 10 * a),
    gate_E: Float64Array.from(share, a => 5 * a),
    firstGate_E: Float64Array.from(share, a => 5 * a),
  });
  const entries = Object.entries(layers).map(([layer, rows]) => [Number(layer), rows.map(r => r && row(r))] as const);
  return {
    numExperts: entries[0][1].find(r => r)!.chosen_E.length,
    k,
    layers: entries.map(([l]) => l),
    sums: new Map(entries),
  };
}

const bn = { name: 'bn', languages: [0] };
const twoRows = usageOf({
  5: [
    [0.6, 0.2, 0.2, 0],
    [0.2, 0.2, 0.6, 0],
  ],
});

describe('choosing experts', () => {
  test('by difference: the target against the mean of the others, ties to the lower id', () => {
    const usage = usageOf({ 3: [[0.5, 0.5, 0], [0.1, 0.5, 0.4], [0.3, 0.5, 0.2], null] });
    const difference = activationDifference(usage, 3, bn);
    for (const [e, value] of [0.3, 0, -0.3].entries()) expect(difference[e]).toBeCloseTo(value, 12);
    expect([...byDifference(usage, bn, [3], 2)]).toEqual([[3, [0, 1]]]);
    expect(ranked([1, 3, 3, 2])).toEqual([1, 2, 3, 0]);
    expect(() => byDifference(usage, { name: 'xx', languages: [3] }, [3], 1)).toThrow(/^xx cannot be compared/);
    expect([...tokenShare(usage, 3, [1, 2, 3])].map(a => a.toFixed(2))).toEqual(['0.20', '0.50', '0.30']);
  });

  test('exclusive and shared experts: one kept each, then three', () => {
    expect(exclusiveShares(twoRows, 5, 1).map(row => [...row!])).toEqual([
      [1, 0, 0, 0],
      [0, 0, 1, 0],
    ]);
    const three = exclusiveShares(twoRows, 5, 3).map(row => [...row!]);
    expect(three[0][0]).toBeCloseTo(0.75, 12);
    expect(three[1][0]).toBeCloseTo(0.25, 12);
    expect([three[0][1], three[1][1]]).toEqual([0.5, 0.5]);
    expect([...exclusive(twoRows, bn, [5], { keep: 1, threshold: 0.4 })]).toEqual([[5, [0]]]);
    expect([...exclusive(twoRows, bn, [5], { keep: 3, threshold: 0.75 })]).toEqual([]);
  });

  test('own experts come from the languages', () => {
    const languages = [{ expert: 2 }, { expert: 1 }, { expert: 2 }, { expert: -1 }] as Language[];
    expect([...ownExperts({ name: 'both', languages: [0, 1, 2] }, languages, [3, 4])]).toEqual([
      [3, [1, 2]],
      [4, [1, 2]],
    ]);
    expect(() => ownExperts({ name: 'lost', languages: [3] }, languages, [3])).toThrow(/serves lost/);
  });
});

describe('controls', () => {
  const loads = [0.3, 0.29, 0.28, 0.05, 0.04, 0.02, 0.01, 0.01];
  const usage = usageOf({ 1: [loads], 2: [[...loads].reverse()] });

  test('random sets are as many, near in load, never the experts themselves, and differ between draws', () => {
    const random = seedrandom('controls');
    const drawn = Array.from({ length: 40 }, () =>
      randomMatched(
        usage,
        new Map([
          [1, [0]],
          [2, [7]],
        ]),
        random,
      ),
    );
    const seen = (layer: number) => [...new Set(drawn.map(sets => sets.get(layer)!.join()))].sort();
    expect(seen(1)).toEqual(['1', '2', '3', '4']); // the four nearest to expert 0 in load
    expect(seen(2)).toEqual(['3', '4', '5', '6']);
    const pair = randomMatched(usage, new Map([[1, [0, 1]]]), random).get(1)!;
    expect(pair).toHaveLength(2);
    expect(pair).not.toEqual([0, 1]);
  });

  test('sets are sampled where there are too many to list', () => {
    const even = usageOf({ 0: [Array(40).fill(0.1)] });
    const own = [0, 1, 2, 3, 4, 5];
    const drawn = randomMatched(even, new Map([[0, own]]), seedrandom('many')).get(0)!;
    expect(new Set(drawn).size).toBe(6);
    expect([...drawn].sort((a, b) => a - b)).toEqual(drawn);
  });

  test('wrong layers: free ones if there are any, else the next, else none', () => {
    expect([
      ...wrongLayers(
        new Map([
          [2, [0]],
          [3, [1]],
        ]),
        [0, 1, 2, 3],
      )!,
    ]).toEqual([
      [0, [0]],
      [1, [1]],
    ]);
    expect([
      ...wrongLayers(
        new Map([
          [0, [5]],
          [1, [1]],
        ]),
        [0, 1],
      )!,
    ]).toEqual([
      [0, [1]],
      [1, [5]],
    ]);
    expect(
      wrongLayers(
        new Map([
          [0, [5]],
          [1, [5]],
        ]),
        [0, 1],
      ),
    ).toBeNull();
    expect([
      ...wrongLayers(
        new Map([
          [0, [5]],
          [1, [6]],
        ]),
        [0, 1, 2],
      )!,
    ]).toEqual([[2, [5]]]);
  });

  test('a planned intervention has its load, and pulls by shares are dealt out anew', () => {
    const planned = planExperts(
      usage,
      bn,
      new Map([
        [1, [0]],
        [2, [0]],
      ]),
      'soft',
      0.5,
    );
    expect(planned.load(planned.acts)).toBeCloseTo((0.3 + 0.01) / 2, 12);
    expect(planned.acts.get(1)).toEqual([{ kind: 'soft', experts: [0], strength: 0.5 }]);
    const shares = planShares(twoRows, bn, [5], { keep: 3, threshold: 0.76, strength: 0.03 });
    const [act] = shares.acts.get(5)!;
    if (act.kind !== 'share') throw new Error('not a pull by shares');
    expect(Array.from(act.share_E, share => share.toFixed(2))).toEqual(['0.75', '0.50', '0.25', '0.00']);
    const [dealt] = shares.randomActs(seedrandom('deal')).get(5)!;
    if (dealt.kind !== 'share') throw new Error('not a pull by shares');
    expect(Array.from(dealt.share_E).sort()).toEqual(Array.from(act.share_E).sort());
    const none = planShares(twoRows, bn, [5], { keep: 3, threshold: 0.6, strength: 0.03 }).experts;
    expect(none.get(5)).toEqual([1]); // 0 and 2 belong to one language by more than the threshold
  });
});

describe('effects', () => {
  const document = (language: number, item: string, difference: number, bytes: number): PairedDocument => ({
    ...{ language, item, difference, bytes },
    source: 'toy',
  });

  test('bits per byte, pooled inside a language, languages alike', () => {
    const documents = [document(0, 'a', 2, 10), document(0, 'b', 1, 10), document(1, 'a', -4, 40)];
    const { value, ...rest } = effectOf(documents, () => 0);
    expect(value).toBeCloseTo((3 / 20 - 4 / 40) / 2 / Math.LN2, 12);
    expect(rest).toEqual({
      ...{ low: null, high: null, documents: 3, method: 'none' }, // two items only
    });
    expect(effectOf([], () => 0).value).toBeNull();
  });

  test('the jackknife of equal documents is the t interval of their mean', () => {
    const differences = [1, 2, 4, 5];
    const { value, low, high, method } = effectOf(
      differences.map((difference, i) => document(0, `${i}`, difference * Math.LN2 * 10, 10)),
      () => 0,
    );
    expect(method).toBe('jackknife');
    expect(value).toBeCloseTo(3, 12);
    // sd = sqrt(10 / 3), standard error sqrt(10 / 12), t(3) = 3.182
    expect(high! - value!).toBeCloseTo(3.182446 * Math.sqrt(10 / 12), 10);
    expect(value! - low!).toBeCloseTo(high! - value!, 12);
  });

  test.each([
    [2, 4.303],
    [3, 3.182],
    [5, 2.571],
    [10, 2.228],
    [29, 2.045],
  ])('t with %i degrees of freedom', (freedom, t) => {
    expect(Math.abs(studentT975(freedom) - t) / t).toBeLessThan(0.004);
  });

  test('the bootstrap covers the truth about as often as it says', () => {
    const random = seedrandom('coverage');
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const documents = Array.from({ length: 40 }, (_, i) => document(0, `${i}`, (0.3 + normal()) * Math.LN2, 1));
      const { low, high, method } = effectOf(documents, random, 300);
      expect(method).toBe('bootstrap');
      if (low! <= 0.3 && high! >= 0.3) covered++;
    }
    expect(covered).toBeGreaterThan(178); // 95 % of 200 less four standard deviations
    expect(covered).toBeLessThan(200);
  });

  test('documents of an item are drawn together', () => {
    // In each item the second language loses what the first gains: the mean of both has no spread at all.
    const documents = Array.from({ length: 60 }, (_, i) => [
      document(0, `${i}`, i, 1),
      document(1, `${i}`, -i, 1),
    ]).flat();
    const { value, low, high } = effectOf(documents, seedrandom('together'), 100);
    expect([value, low, high].map(x => Math.abs(x!))).toEqual([0, 0, 0]);
  });
});

describe('the verdict on a module', () => {
  const random = { mean: 0.2, sd: 0.22, draws: 20 }; // mean + 2σ = .64
  const arabic = { value: 1.8, low: 1.73, high: 1.86 };

  test('the published numbers: one family passes, another for the points alone', () => {
    const pass = moduleVerdict(arabic, { value: 0.43, low: 0.4, high: 0.46 }, random);
    expect(pass.threshold).toBeCloseTo(0.64, 12);
    expect(pass).toMatchObject({ points: true, intervals: true });
    const narrow = moduleVerdict(
      { value: 1.206, low: 1.15, high: 1.26 },
      { value: 0.4, low: 0.37, high: 0.43 },
      random,
    );
    expect(narrow).toMatchObject({ points: true, intervals: false });
  });

  test('not above random experts, too much elsewhere, or without an interval: no', () => {
    const small = { value: 0.1, low: 0.09, high: 0.11 };
    expect(moduleVerdict({ value: 0.63, low: 0.6, high: 0.66 }, small, random).points).toBe(false);
    expect(moduleVerdict(arabic, { value: 0.61, low: 0.6, high: 0.62 }, random).points).toBe(false);
    expect(moduleVerdict({ ...arabic, low: null }, small, random)).toMatchObject({ points: true, intervals: false });
  });

  test('mean and standard deviation of the draws', () => {
    const { mean, sd, draws } = nullOf([1, 2, 3]);
    expect([mean, sd, draws]).toEqual([2, 1, 3]);
  });
});

test('the grid as CSV: empty where nothing is known, names in quotes where they need them', () => {
  const effect = { value: 0.0123456789, low: null, high: null, documents: 2, method: 'none' as const };
  const row = { language: 0, ...effect, null: { mean: -0.5, sd: 0.25, draws: 20 } };
  const column = {
    planned: {
      target: { name: 'A, "B"', languages: [0] },
      experts: new Map([
        [4, [0, 2]],
        [5, [1]],
      ]),
    },
    byLanguage: [row],
    moved: null,
    others: { name: 'C', byLanguage: [{ ...row, value: null, null: null }] },
  } as unknown as GridColumn;
  expect(gridCsv([column], [{ code: 'bn', family: 'Indic' }])).toBe(
    [
      'intervention,layers,experts,control,language,family,delta_bits_per_byte,low,high,documents,null_mean,null_sd',
      '"A, ""B""",4 5,4:0+2 5:1,none,bn,Indic,0.0123457,,,2,-0.5,0.25',
      '"A, ""B""",4 5,4:0+2 5:1,experts of C,bn,Indic,,,,2,,',
      '',
    ].join('\n'),
  );
});
