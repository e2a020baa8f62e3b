// How often the test of late spread is wrong and how much it can see, over many simulated data sets.
import { describe, expect, it } from 'vitest';
import { profileStatistic } from '../../analysis/depth-profiles.ts';
import { resample } from '../../analysis/resample.ts';
import { languageRows } from '../../analysis/rows.ts';
import { spread } from '../../analysis/spread.ts';
import { simulate } from '../helpers/simulate.ts';

const SETS = 200;
const set = (seed: string, strength: number, more: object = {}) =>
  simulate({
    ...{ languages: 4, items: 40, experts: 6, k: 2, tokens: 15, concentration: 6, seed },
    ...{ strengths: new Array(8).fill(strength), ...more },
  });
const alarms = (verdictOf: (i: number) => string) =>
  Array.from({ length: SETS }, (_, i) => verdictOf(i)).filter(verdict => verdict !== 'neither').length;

describe('false alarms over 200 data sets, at most 5 %', () => {
  it('routers that know no language, and the family-wise test of layers holds its level', () => {
    let found = 0;
    const wrong = alarms(i => {
      const { counts, header } = set(`none ${i}`, 0);
      const { verdict, profile } = spread(counts, header, { seed: 'alarm', draws: 400, permutations: 99 });
      if (profile.some(({ pFamily }) => pFamily! <= 0.05)) found++;
      return verdict;
    });
    expect(wrong).toBeLessThanOrEqual(0.05 * SETS);
    expect(found / SETS).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / SETS));
  });
  it('routers that know language equally well in every layer', () => {
    const wrong = alarms(i => {
      const { counts, header } = set(`alike ${i}`, 0.7, { alike: true });
      return spread(counts, header, { seed: 'alarm', draws: 400, permutations: 0 }).verdict;
    });
    expect(wrong).toBeLessThanOrEqual(0.05 * SETS);
  });
});

it('95 % intervals hold the truth 95 times in 100, and the jackknife takes off the bias', () => {
  const [items, n, E, sets] = [40, 5, 8, 100];
  const size = { languages: n, experts: E, items: sets * items, strengths: [0.5], concentration: 8, content: 0.5 };
  const { counts, header } = simulate({ ...size, k: 2, tokens: 15, seed: 'population' });
  const truth = profileStatistic.of(languageRows(counts, 'selection', 'documents', header))[0];
  let [held, plugIn, corrected] = [0, 0, 0];
  for (let i = 0; i < sets; i++) {
    const [from, to] = [i * items * n, (i + 1) * items * n];
    const sample = {
      ...counts,
      document: counts.document.slice(0, items * n),
      language: counts.language.slice(from, to),
      item: counts.item.slice(from, to).map(item => item - i * items),
      items,
      tokens: counts.tokens.slice(from, to),
      count: [counts.count[0].slice(from * E, to * E)],
    };
    const options = { view: 'selection' as const, seed: `cover ${i}`, draws: 400, permutations: 0 };
    const [estimate] = resample(sample, header, [profileStatistic], options).get('profile')!;
    if (estimate.low! <= truth && truth <= estimate.high!) held++;
    plugIn += (estimate.plugIn - truth) / sets;
    corrected += (estimate.estimate - truth) / sets;
  }
  expect(held).toBeGreaterThanOrEqual(88);
  expect(plugIn / truth).toBeGreaterThan(0.1);
  expect(Math.abs(corrected)).toBeLessThan(0.15 * plugIn);
});

describe('power guide: standard error and permutation mean of D with 30 tokens a document', () => {
  // [languages, experts, k, items, concentration, strength] → standard error, permutation mean, D
  const cases: [number[], number, number, number][] = [
    [[12, 12, 2, 50, 20, 0.6], 0.002, 0.003, 0.04],
    [[12, 12, 2, 200, 20, 0.5], 0.0008, 0.0008, 0.04],
    [[50, 12, 2, 200, 20, 0.5], 0.0003, 0.0006, 0.029],
  ];
  for (const [[languages, experts, k, items, concentration, strength], se, nullMean, D] of cases) {
    it(`${languages} languages, ${items} items: ${se}, ${nullMean}`, () => {
      const shape = { languages, experts, k, items, concentration, strengths: [strength] };
      const { counts, header } = simulate({ ...shape, tokens: 30, seed: 'power' });
      const options = { view: 'selection' as const, seed: 'power', draws: 0, permutations: 99 };
      const [estimate] = resample(counts, header, [profileStatistic], options).get('profile')!;
      const within = (value: number, guide: number) => {
        expect(value / guide).toBeGreaterThan(1 / 1.4);
        expect(value / guide).toBeLessThan(1.4);
      };
      within(estimate.estimate, D);
      within(estimate.se!, se);
      within(estimate.nullMean!, nullMean);
    });
  }
});
