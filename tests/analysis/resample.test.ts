// Jackknife, bootstrap and permutation: by hand, against closed forms, and what pairing by item must do.
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { basicInterval, bootstrapChoice, quantile } from '../../analysis/bootstrap.ts';
import type { DocumentCounts, Estimate, LanguageRows, Statistic } from '../../analysis/document-counts.ts';
import { entropyStatistic } from '../../analysis/entropy.ts';
import { jackknife, jackknifeChoices } from '../../analysis/jackknife.ts';
import { informationStatistic } from '../../analysis/language-information.ts';
import { exchangeable, permutationTest, permutedChoice } from '../../analysis/permutation.ts';
import { distributions, resample } from '../../analysis/resample.ts';
import { resampleMeans } from '../../analysis/resample-means.ts';
import { unitsOf } from '../../analysis/units.ts';
import { simulate, simulatedHeader } from '../helpers/simulate.ts';

/** The share of expert 0 of language 0 in layer 0: a mean over its documents. */
const first: Statistic = { name: 'first', of: ({ q }: LanguageRows) => [q[0]] };
/** Documents of one token and one expert each. */
function singles(languages: number[], experts: number[], items: number[], E = 2): DocumentCounts {
  const D = languages.length;
  const count = new Float32Array(D * E);
  for (const [d, e] of experts.entries()) count[d * E + e] = 1;
  return {
    document: Int32Array.from({ length: D }, (_, d) => d),
    language: Int32Array.from(languages),
    item: Int32Array.from(items),
    items: Math.max(...items) + 1,
    tokens: new Float64Array(D).fill(1),
    count: [count],
    gate: [count],
    softmax: null,
    dropped: { special: 0, first: 0 },
  };
}
const own = (n: number) => Array.from({ length: n }, (_, d) => d);

describe('jackknife', () => {
  it('of a mean: no bias, s / √n', () => {
    const x = [1, 2, 3, 4, 10];
    const without = x.map(value => (20 - value) / 4);
    const { estimate, se } = jackknife(4, without);
    expect(estimate).toBeCloseTo(4, 12);
    expect(se).toBeCloseTo(Math.sqrt(50 / 4 / 5), 12);
  });
  it('of the plug-in variance: exactly the unbiased one', () => {
    const x = [1, 2, 3, 4, 10];
    const variance = (list: number[]) => {
      const mean = list.reduce((a, b) => a + b, 0) / list.length;
      return list.reduce((sum, value) => sum + (value - mean) ** 2, 0) / list.length;
    };
    const without = x.map((_, i) => variance(x.filter((_, j) => j !== i)));
    expect(jackknife(variance(x), without).estimate).toBeCloseTo((variance(x) * 5) / 4, 12);
  });
  it('deletes every unit exactly once, whole items together', () => {
    const { counts } = simulate({ ...small, items: 35 });
    const units = unitsOf(counts, 3);
    const choices = jackknifeChoices(units, counts.language, 3, 50, seedrandom('a'));
    expect(choices.length).toBe(35);
    const left = new Int32Array(105);
    for (const { document } of choices) for (const d of document) left[d]++;
    expect([...left]).toEqual(new Array(105).fill(34));
    const missing = own(105).filter(d => !choices[0].document.includes(d));
    expect(new Set(missing.map(d => counts.item[d])).size).toBe(1);
    expect(jackknifeChoices(units, counts.language, 3, 10, seedrandom('a')).length).toBe(10);
  });
});

const small = { languages: 3, items: 40, experts: 4, k: 2, tokens: 10, strengths: [0, 1], concentration: 8, seed: 's' };

describe('bootstrap', () => {
  it('quantiles interpolate between neighbours', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(quantile([1, 2, 3, 4], 0.95)).toBeCloseTo(3.85, 12);
    expect(quantile([], 0.5)).toBeNaN();
  });
  it('reflects: draws above the value put the interval below it', () => {
    const draws = Float64Array.from({ length: 101 }, (_, i) => 2 + i / 100);
    const { low, high } = basicInterval(2, draws);
    expect(low).toBeCloseTo(4 - 2.975, 12);
    expect(high).toBeCloseTo(4 - 2.025, 12);
  });
  it('draws items for all languages at once, and as many as there are', () => {
    const { counts } = simulate(small);
    const { start, document, weight } = bootstrapChoice(unitsOf(counts, 3), counts.language, 3, seedrandom('b'));
    const times = [0, 1, 2].map(l => {
      const mine = own(start[l + 1] - start[l]).map(i => start[l] + i);
      return new Map(mine.map(i => [counts.item[document[i]], weight[i]]));
    });
    expect(times[1]).toEqual(times[0]);
    expect(times[2]).toEqual(times[0]);
    expect([...times[0].values()].reduce((a, b) => a + b, 0)).toBe(40);
  });
  it('draws documents inside their language where no item is shared', () => {
    const { counts } = simulate({ ...small, parallel: false });
    const units = unitsOf(counts, 3);
    expect(units.kind).toBe('documents');
    const { start, weight } = bootstrapChoice(units, counts.language, 3, seedrandom('b'));
    for (let l = 0; l < 3; l++) {
      expect(weight.subarray(start[l], start[l + 1]).reduce((a, b) => a + b, 0)).toBe(40);
    }
  });
  it('has the spread of the mean that it resamples', () => {
    const n = 200;
    const counts = singles(
      new Array(n).fill(0),
      own(n).map(d => (d < 60 ? 0 : 1)),
      own(n),
    );
    const [estimate] = resample(counts, { languages: [0], numExperts: 2 }, [first], {
      view: 'selection',
      seed: 'x',
    }).get('first')!;
    const sd = Math.sqrt((0.3 * 0.7) / n);
    expect(estimate.plugIn).toBeCloseTo(0.3, 12);
    expect(estimate.estimate).toBeCloseTo(0.3, 12);
    expect(estimate.se! / sd).toBeCloseTo(1, 1);
    expect((estimate.high! - estimate.low!) / (2 * 1.96 * sd)).toBeCloseTo(1, 1);
  });
});

describe('permutation', () => {
  // language 0: 8 times expert 0 and 2 times expert 1; language 1: 3 and 7
  const languages = own(20).map(d => (d < 10 ? 0 : 1));
  const experts = own(20).map(d => (d < 8 || (d >= 10 && d < 13) ? 0 : 1));
  const shape = { languages: [0, 1], numExperts: 2 };

  it('counts [[8 2] [3 7]]: I .132505, null mean .027110, excess .105395, p .0698, by all tables with these margins', () => {
    const choose = (n: number, k: number) => own(k).reduce((ways, i) => (ways * (n - i)) / (i + 1), 1);
    const plain = (a: number) => informationOfTable(a / 10, (11 - a) / 10);
    let [mean, p] = [0, 0];
    for (let a = 1; a <= 10; a++) {
      const weight = (choose(10, a) * choose(10, 11 - a)) / choose(20, 11);
      mean += weight * plain(a);
      if (plain(a) >= plain(8) - 1e-12) p += weight;
    }
    expect(plain(8)).toBeCloseTo(0.132505, 6);
    expect(mean).toBeCloseTo(0.02711, 6);
    expect(plain(8) - mean).toBeCloseTo(0.105395, 6);
    expect(p).toBeCloseTo(0.0698, 4);
    const options = { view: 'selection' as const, seed: 'p', draws: 0, permutations: 4999 };
    const [drawn] = resample(singles(languages, experts, own(20)), shape, [informationStatistic], options).get(
      'information',
    )!;
    expect(drawn.plugIn).toBeCloseTo(0.132505, 6);
    expect(Math.abs(drawn.nullMean! - mean)).toBeLessThan(4 * 0.0005);
    expect(Math.abs(drawn.p! - p)).toBeLessThan(4 * Math.sqrt((0.07 * 0.93) / 5000));
    expect(drawn.pFamily).toBe(drawn.p);
    expect(drawn.excess).toBeCloseTo(drawn.plugIn - drawn.nullMean!, 12);
  });
  it('swaps labels inside an item only, and singles among themselves', () => {
    const counts = singles([0, 1, 0, 1, 2, 2, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 2, 3, 4, 5]);
    const units = unitsOf(counts, 3);
    const groups = exchangeable(units).map(group => [...group].sort((a, b) => a - b));
    expect(groups).toEqual([
      [0, 1],
      [2, 3],
      [4, 5, 6, 7],
    ]);
    const random = seedrandom('p');
    for (let i = 0; i < 20; i++) {
      const { start, document } = permutedChoice(exchangeable(units), counts.language, 3, units.kept, random);
      const label = (d: number) => [0, 1, 2].find(l => document.subarray(start[l], start[l + 1]).includes(d));
      expect([label(0), label(1)].sort()).toEqual([0, 1]);
      expect([label(2), label(3)].sort()).toEqual([0, 1]);
    }
  });
  it('is blind to content: two languages that follow the item alike have p = 1', () => {
    const items = own(60).map(d => d >> 1);
    const counts = singles(
      own(60).map(d => d % 2),
      items.map(item => item % 2),
      items,
    );
    const [drawn] = resample(counts, shape, [informationStatistic], { view: 'selection', seed: 'c' }).get(
      'information',
    )!;
    expect(drawn.plugIn).toBeCloseTo(0, 12);
    expect(drawn).toMatchObject({ p: 1, pFamily: 1 });
    // items drawn apart for each language would move the two rows apart
    expect(drawn.high).toBeCloseTo(0, 12);
    const apart = { ...counts, item: Int32Array.from(own(60)), items: 60 };
    const [other] = resample(apart, shape, [informationStatistic], { view: 'selection', seed: 'c' }).get(
      'information',
    )!;
    expect(other.se).toBeGreaterThan(1e-4);
  });
  it('family-wise: the p of a component compares with the largest of all', () => {
    const draws = [Float64Array.of(0, 1, 2, 3), Float64Array.of(30, 10, 20, 0)];
    const [a, b] = permutationTest([3, 31], draws);
    expect([a.mean, a.p, a.pFamily]).toEqual([1.5, 2 / 5, 3 / 5]);
    expect([b.mean, b.p, b.pFamily]).toEqual([15, 1 / 5, 1 / 5]);
  });
  it('a null that never moves is left only by a real difference', () => {
    const still = [new Float64Array(9).fill(0.25)];
    expect(permutationTest([0.25 + 1e-15], still)[0]).toMatchObject({ p: 1, pFamily: 1 });
    expect(permutationTest([0.26], still)[0]).toMatchObject({ p: 0.1, pFamily: 0.1 });
  });
});

function informationOfTable(p: number, q: number): number {
  const h = (x: number) => -[x, 1 - x].reduce((sum, v) => sum + (v > 0 ? v * Math.log(v) : 0), 0);
  return h((p + q) / 2) - (h(p) + h(q)) / 2;
}

describe('resample', () => {
  it('gives the same numbers again for the same seed, others for another', () => {
    const { counts, header } = simulate(small);
    const run = (seed: string) =>
      resample(counts, header, [informationStatistic], { view: 'selection', seed, draws: 100, permutations: 50 });
    expect(run('a')).toEqual(run('a'));
    expect(run('b')).not.toEqual(run('a'));
  });
  it('corrects what few texts add: no information planted, none found; some planted, found', () => {
    const { counts, header } = simulate({ ...small, languages: 6, strengths: [0, 0, 0, 0, 0, 0, 1] });
    const options = { view: 'selection' as const, seed: 'r', draws: 400, permutations: 199 };
    const list = resample(counts, header, [informationStatistic], options).get('information')!;
    const none = list.slice(0, 6);
    const mean = (of: (estimate: Estimate) => number) => none.reduce((sum, estimate) => sum + of(estimate), 0) / 6;
    expect(mean(({ plugIn }) => plugIn)).toBeGreaterThan(0.003);
    expect(mean(({ estimate }) => estimate) / mean(({ plugIn }) => plugIn)).toBeLessThan(0.25);
    expect(mean(({ nullMean }) => nullMean!) / mean(({ plugIn }) => plugIn)).toBeCloseTo(1, 0);
    for (const { low, pFamily } of none) expect([low, pFamily! > 0.05]).toEqual([0, true]);
    const some = list[6];
    expect(some.low).toBeGreaterThan(0.02);
    expect(some.pFamily).toBe(1 / 200);
    expect(some.low!).toBeLessThan(some.estimate);
    expect(some.high!).toBeGreaterThan(some.estimate);
  });
  it('under 30 units: the jackknife alone, with the reason', () => {
    const { counts, header } = simulate({ ...small, items: 29 });
    const options = { view: 'selection' as const, seed: 'r', draws: 50, permutations: 20 };
    const [estimate] = resample(counts, header, [informationStatistic], options).get('information')!;
    expect(estimate).toMatchObject({ low: null, high: null });
    expect(estimate.se).toBeGreaterThan(0);
    expect(estimate.reason).toBe('29 parallel items per language, fewer than 30: jackknife alone, no interval');
  });
  it('a language with few texts among others with many has no interval of its own', () => {
    const { counts, header } = simulate({ ...small, languages: 4 });
    const documents = [...counts.document].filter(d => counts.language[d] !== 3 || counts.item[d] < 20);
    const pick = (cells: Float32Array) =>
      Float32Array.from(documents.flatMap(d => [...cells.subarray(d * 4, d * 4 + 4)]));
    const fewer: DocumentCounts = {
      ...counts,
      document: Int32Array.from(documents),
      language: Int32Array.from(documents, d => counts.language[d]),
      item: Int32Array.from(documents, d => counts.item[d]),
      tokens: Float64Array.from(documents, d => counts.tokens[d]),
      count: counts.count.map(pick),
    };
    const options = { view: 'selection' as const, seed: 'r', draws: 50 };
    const list = resample(fewer, header, [entropyStatistic], options).get('entropy')!;
    expect(list.map(({ low }) => low !== null)).toEqual([true, true, true, false, true, true, true, false]);
    expect(list[3].reason).toBe('20 parallel items, fewer than 30: jackknife alone, no interval');
    expect(list[2].reason).toBeNull();
    expect(list[3].se).toBeGreaterThan(0);
  });
  it('leaves out languages with a single document, and says when nothing is left', () => {
    const counts = singles([0, 0, 1, 1, 2], [0, 1, 1, 1, 0], own(5));
    const { units } = distributions(counts, simulatedHeader(3, 1, 2, 1, 1), [first], { view: 'selection', seed: 'x' });
    expect([...units.kept]).toEqual([1, 1, 1, 1, 0]);
    const lone = singles([0, 1], [0, 1], [0, 0]);
    const { reason } = distributions(lone, simulatedHeader(2, 1, 2, 1, 1), [informationStatistic], {
      view: 'selection',
      seed: 'x',
    });
    expect(reason).toBe('no language has two documents, so nothing can be resampled');
  });
  it('counts of duplicated documents: plug-in unchanged', () => {
    const { counts, header } = simulate(small);
    const twice: DocumentCounts = {
      ...counts,
      document: Int32Array.from([...counts.document, ...counts.document.map(d => d + 120)]),
      language: Int32Array.from([...counts.language, ...counts.language]),
      item: Int32Array.from([...counts.item, ...counts.item.map(i => i + counts.items)]),
      items: 2 * counts.items,
      tokens: Float64Array.from([...counts.tokens, ...counts.tokens]),
      count: counts.count.map(cells => Float32Array.from([...cells, ...cells])),
    };
    const value = (of: DocumentCounts) =>
      resample(of, header, [informationStatistic], { view: 'selection', seed: 'd', draws: 10, permutations: 0 }).get(
        'information',
      )!;
    const [once, again] = [value(counts), value(twice)];
    for (const l of [0, 1]) {
      expect(again[l].plugIn).toBeCloseTo(once[l].plugIn, 12);
      expect(again[l].se! / once[l].se!).toBeLessThan(0.95);
    }
  });
});

describe('means over items', () => {
  it('of values that some items lack', () => {
    // 40 items with values 0 … 39 in the first component, 10 without; none in the second
    const has = (i: number) => i % 2 === 0 && i < 80;
    const values = Float64Array.from({ length: 100 }, (_, i) => (has(i) ? i / 2 : Number.NaN));
    const [mean, none] = resampleMeans(values, 2, { draws: 500, seed: 'm' });
    expect(mean.plugIn).toBeCloseTo(19.5, 12);
    const sd = Math.sqrt((40 * 41) / 12 / 40);
    expect(mean.se).toBeCloseTo(sd, 10);
    expect((mean.high! - mean.low!) / (2 * 1.96 * sd)).toBeCloseTo(1, 0);
    expect(none).toMatchObject({ low: null, reason: '0 items, fewer than 30: standard error alone, no interval' });
  });
});
