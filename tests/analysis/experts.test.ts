// M8 to M11, A1, A2 and correlations over languages: by hand, against scipy, and with language planted by simulation.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { from } from 'arquero';
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { activation, activationStatistic, anyActivationStatistic, halvesNull } from '../../analysis/activation.ts';
import { correlation, correlationOf, correlationPoints, ranks } from '../../analysis/correlation.ts';
import type { DocumentCounts } from '../../analysis/document-counts.ts';
import {
  exclusive,
  exclusiveStatistic,
  kindsOf,
  languageShares,
  leaning,
  leaningStatistic,
} from '../../analysis/exclusive.ts';
import { forcedGap } from '../../analysis/forced-gap.ts';
import { obedience, obedienceStatistic, purityStatistic } from '../../analysis/obedience.ts';
import { resample } from '../../analysis/resample.ts';
import { languageRows } from '../../analysis/rows.ts';
import { rowsToUsage } from '../../analysis/rows-to-usage.ts';
import { liftStatistic, lifts, publishedSpecificity, specificity } from '../../analysis/specificity.ts';
import { publishedOverlap, universality, universalityOf, universalityStatistic } from '../../analysis/universality.ts';
import { simulate } from '../helpers/simulate.ts';
import { tinyHeader, tinyRows } from '../helpers/tiny-rows.ts';

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'golden', 'analysis', 'distances.json'), 'utf8'),
);
const BN = [0.6, 0.2, 0.2, 0];
const EN = [0.2, 0.2, 0.6, 0];
const close = (values: ArrayLike<number>, expected: ArrayLike<number>, digits = 10) => {
  expect(values.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(values[i]).toBeCloseTo(expected[i], digits);
};
type Row = Record<string, number | string | boolean | null>;

/** Three languages, two layers: language decides much in the second, nothing in the first. */
const simulated = () =>
  simulate({
    languages: 3,
    items: 60,
    experts: 12,
    k: 2,
    tokens: 20,
    strengths: [0, 1.5],
    concentration: 30,
    seed: 'experts',
  });

describe('specificity (M8)', () => {
  it('published: S [1.5 1 .5 –] and Spec [10.5 3 1.5 –]; nothing for a dead expert', () => {
    const { ratio, score } = publishedSpecificity([BN, EN]);
    close(ratio[0].slice(0, 3), [1.5, 1, 0.5]);
    close(score[0].slice(0, 3), [10.5, 3, 1.5]);
    expect([ratio[0][3], score[0][3]]).toEqual([Number.NaN, Number.NaN]);
    close(publishedSpecificity([BN, EN], 0).score[0].slice(0, 3), [1.5, 1, 0.5]);
  });
  it('lift: log2 of the ratio to the others, half a token added to both', () => {
    // 100 and 50 tokens: c = .005 and .01
    const lift = lifts(tinyRows([[BN, EN]]), 1, [100, 50]);
    close(lift.slice(0, 3), [Math.log2(0.605 / 0.205), 0, Math.log2(0.205 / 0.605)]);
    close(lift.slice(4, 7), [Math.log2(0.21 / 0.61), 0, Math.log2(0.61 / 0.21)]);
    expect([lift[3], lift[7]]).toEqual([Number.NaN, Number.NaN]);
  });
  it('lift leaves the language itself and absent ones out of the mean; k = 2 doubles the shares', () => {
    const lift = lifts(tinyRows([[[0.5, 0.5], null, [0.25, 0.75], [0.75, 0.25]]]), 2, [1, 0, 1, 1]);
    close(lift.slice(0, 2), [0, 0]);
    expect(lift[4]).toBeCloseTo(Math.log2((0.5 + 0.5) / ((1 + 1.5) / 2 + 0.5)), 12);
    expect(lift[2]).toBeNaN();
    expect(lifts(tinyRows([[[1, 0]]]), 1, [9])[0]).toBeNaN();
  });
  it('without estimates nothing is called', () => {
    const header = tinyHeader({ bn: {}, en: {} }, 4);
    const rows = specificity(tinyRows([[BN, EN]]), header, { tokens: [100, 100] }).objects() as Row[];
    expect(rows[0]).toMatchObject({
      layer: 0,
      group: 'bn',
      expert: 0,
      specificity: expect.closeTo(1.5, 12),
      low: null,
      specific: null,
    });
    expect(rows[3]).toMatchObject({ specificity: null, score: null, lift: null });
  });
  it('calls are rare without language and many with it; intervals agree with the calls', () => {
    const { counts, header } = simulated();
    const tokens = [1200, 1200, 1200];
    const statistic = liftStatistic(2, tokens);
    const estimates = resample(counts, header, [statistic], { view: 'selection', seed: 'lift' }).get('lift')!;
    const rows = languageRows(counts, 'selection', 'documents', header);
    const table = specificity(rows, header, { tokens, estimates }).objects() as Row[];
    const called = (layer: number) => table.filter(row => row.layer === layer && row.specific);
    expect(called(0)).toHaveLength(0);
    expect(called(1).length).toBeGreaterThanOrEqual(3);
    for (const row of called(1)) {
      const [l, e] = [header.languages.findIndex(({ code }) => code === row.group), row.expert as number];
      expect(2 * rows.q[(3 + l) * 12 + e]).toBeGreaterThanOrEqual(4 / 12);
      expect(row.low).toBeGreaterThan(0);
    }
    const high = (row: Row) => row.layer === 1 && (row.low as number) > 0;
    const strict = specificity(rows, header, { tokens, estimates, least: 2.1 }).objects() as Row[];
    expect([table.filter(high).length > 3, strict.some(row => row.specific)]).toEqual([true, false]);
  });
});

describe('few texts', () => {
  it('call nothing, unless the number of blocks is known; fewer blocks ask for more', () => {
    const { counts, header } = simulate({
      ...{ languages: 3, items: 8, experts: 12, k: 2, tokens: 60, strengths: [2], concentration: 300, seed: 'few' },
    });
    const tokens = [480, 480, 480];
    const statistics = [liftStatistic(2, tokens), activationStatistic(header, 'l00')];
    const estimates = resample(counts, header, statistics, { view: 'selection', seed: 'few' });
    const rows = languageRows(counts, 'selection', 'documents', header);
    const specific = (blocks?: number) => {
      const options = { tokens, estimates: estimates.get('lift'), blocks };
      return (specificity(rows, header, options).objects() as Row[]).filter(row => row.specific).length;
    };
    const found = (blocks?: number) => {
      const options = { pivot: 'l00', estimates: estimates.get('activation'), blocks };
      return (activation(rows, header, options).objects() as Row[]).filter(row => row.found).length;
    };
    expect([specific(), found()]).toEqual([0, 0]);
    expect(specific(8)).toBeGreaterThan(0);
    expect(found(8)).toBeGreaterThan(0);
    expect(found(50)).toBeGreaterThanOrEqual(found(8));
    expect(specific(3)).toBeLessThan(specific(8));
  });
});

describe('universality (M9)', () => {
  it('published: O [.667 1 .667] and Ovlp [3.333 3 3.333]: the skewed beat the even; a dead expert has O = 1', () => {
    const { overlap, score } = publishedOverlap([BN, EN]);
    close(overlap, [2 / 3, 1, 2 / 3, 1]);
    close(score, [10 / 3, 3, 10 / 3, 1]);
    // exclusive among n languages: 1 / (1 + √(n − 1))
    expect(publishedOverlap([[0.3], [0], [0], [0], [0]]).overlap[0]).toBeCloseTo(1 / (1 + 2), 12);
  });
  it('ours: 1 even, 0 exclusive, .811278 at three to one, nothing when dead', () => {
    expect(universalityOf([0.2, 0.2])).toBeCloseTo(1, 12);
    expect(universalityOf([0.2, 0, 0])).toBe(0);
    expect(universalityOf([0.6, 0.2])).toBeCloseTo(0.811278, 6);
    expect([universalityOf([0, 0]), universalityOf([0.2])]).toEqual([Number.NaN, Number.NaN]);
  });
  it('as a table: load, the family that uses an expert most, nulls for the dead', () => {
    const header = tinyHeader({ bn: { family: 'IE' }, hi: { family: 'IE' }, en: { family: 'G' }, xx: {} }, 4, 2);
    const rows = tinyRows([[BN, BN, EN, null]]);
    const table = universality(rows, header, { tokens: [50, 50, 100, 0] }).objects() as Row[];
    expect(table[0]).toMatchObject({ family: 'IE', load: expect.closeTo((1.2 + 1.2 + 0.4) / 3, 12), low: null });
    expect(table[0].lift).toBeCloseTo(Math.log2((1.2 + 0.005) / (0.4 + 0.005)), 12);
    expect(table[2].family).toBe('G');
    const dead = { universality: null, load: 0, overlap: null, score: null, family: null, lift: null };
    expect(table[3]).toMatchObject(dead);
    const one = tinyHeader({ bn: { family: 'IE' }, hi: { family: 'IE' } }, 4);
    const alone = universality(tinyRows([[BN, EN]]), one, { tokens: [1, 1] }).objects()[0];
    expect(alone).toMatchObject({ family: null, lift: null, universality: expect.closeTo(0.811278, 6) });
  });
  it('is even without language, less so with it', () => {
    const { counts, header } = simulated();
    const options = { view: 'selection', draws: 200, seed: 'U' } as const;
    const estimates = resample(counts, header, [universalityStatistic], options).get('universality')!;
    expect(Math.min(...estimates.slice(0, 12).map(({ estimate }) => estimate))).toBeGreaterThan(0.97);
    expect(Math.min(...estimates.slice(12).map(({ high }) => high!))).toBeLessThan(0.8);
    const rows = languageRows(counts, 'selection', 'documents', header);
    const table = universality(rows, header, { tokens: [1, 1, 1], estimates }).objects() as Row[];
    expect(table[13]).toMatchObject({
      layer: 1,
      expert: 1,
      low: estimates[13].low,
      universality: estimates[13].estimate,
    });
  });
});

describe('exclusive experts (M10)', () => {
  const header = tinyHeader({ bn: {}, en: {} }, 4);
  const rows = tinyRows([[BN, EN]]);
  const kinds = (keep: number, threshold: number) =>
    (exclusive(rows, header, { keep, threshold }).objects() as Row[]).map(({ kind, group }) => [kind, group]);
  it('K = 1: both have one of their own and nothing is shared', () => {
    expect(kinds(1, 0.4)).toEqual([
      ['exclusive', 'bn'],
      ['unused', null],
      ['exclusive', 'en'],
      ['unused', null],
    ]);
  });
  it('K = 3: shares .75 and .25, .5 and .5', () => {
    const [bn, en] = languageShares([BN, EN], 3);
    close(bn, [0.75, 0.5, 0.25, 0]);
    close(en, [0.25, 0.5, 0.75, 0]);
    expect(kinds(3, 0.7).map(([kind]) => kind)).toEqual(['exclusive', 'shared', 'exclusive', 'unused']);
    // exactly θ is neither above it nor below
    expect(kinds(3, 0.5)[1]).toEqual(['neither', 'bn']);
  });
  it('ties at rank K keep the lower id', () => {
    const [first] = languageShares([[0.25, 0.25, 0.25, 0.25]], 2);
    close(first, [1, 1, 0, 0]);
  });
  it('a group asked about: a high share outside it is neither', () => {
    const share = [
      [0.5, 0.2],
      [0.3, 0.3],
      [0.2, 0.5],
    ].map(row => Float64Array.from(row));
    const of = (group: string[]) => kindsOf(share, group, 0.4).map(({ kind, share: sum }) => [kind, sum]);
    expect(of(['t', 't', ''])).toEqual([
      ['exclusive', 0.8],
      ['exclusive', 0.5],
    ]);
    expect(of(['', 't', ''])).toEqual([
      ['neither', 0.3],
      ['neither', 0.3],
    ]);
  });
  it('leaning: what goes to shared and to own experts', () => {
    const table = leaning(rows, header, { keep: 3, threshold: 0.7 }).objects() as Row[];
    expect(table[0]).toMatchObject({ group: 'bn', shared: 0.2, exclusive: 0.6, sharedLow: null });
    expect(table[1]).toMatchObject({ group: 'en', shared: 0.2, exclusive: 0.6 });
    const absent = leaningStatistic(tinyHeader({ bn: {}, xx: {} }, 4), { keep: 3 }).of(tinyRows([[BN, null]]));
    expect(Array.from(absent).slice(2)).toEqual([Number.NaN, Number.NaN]);
  });
  it('with estimates, intervals stand beside the observed share', () => {
    const { counts, header: of } = simulated();
    const options = { view: 'selection', draws: 100, seed: 'exclusive' } as const;
    const choice = { threshold: 0.5 };
    const statistics = [exclusiveStatistic(of, choice), leaningStatistic(of, choice)];
    const estimates = resample(counts, of, statistics, options);
    const observed = languageRows(counts, 'selection', 'documents', of);
    const table = exclusive(observed, of, choice, estimates.get('exclusive')!).objects() as Row[];
    const clear = table.filter(row => row.layer === 1 && (row.low as number) > 0.5);
    expect(clear.length).toBeGreaterThan(0);
    expect(clear.every(row => row.kind === 'exclusive')).toBe(true);
    expect(table.filter(row => row.layer === 0).every(row => row.kind === 'shared')).toBe(true);
    const lean = leaning(observed, of, choice, estimates.get('leaning')!).objects() as Row[];
    expect(lean[0]).toMatchObject({ layer: 0, shared: expect.closeTo(1, 12), exclusive: 0 });
    expect(lean[3].exclusiveLow).toBeGreaterThan(0);
  });
});

describe('activation difference (M11)', () => {
  // one expert in question; 10 tokens per item: 6 and 4 choose it in the data, 1 and 1 in the baseline
  const header = tinyHeader({ task: {}, en: {} }, 2);
  const counts: DocumentCounts = {
    document: Int32Array.of(0, 1, 2, 3),
    language: Int32Array.of(0, 0, 1, 1),
    item: Int32Array.of(0, 1, 2, 3),
    items: 4,
    tokens: Float64Array.of(10, 10, 10, 10),
    count: [Float32Array.of(6, 4, 4, 6, 1, 9, 1, 9)],
    gate: [Float32Array.of(6, 4, 4, 6, 1, 9, 1, 9)],
    softmax: null,
    dropped: { special: 0, first: 0 },
  };
  const rows = languageRows(counts, 'selection', 'documents', header);
  it('.5 − .1 = .4, selected at τ = .3', () => {
    const table = activation(rows, header).objects() as Row[];
    expect(table).toHaveLength(4);
    expect(table[0]).toMatchObject({ expert: 0, group: 'task', difference: expect.closeTo(0.4, 6), selected: true });
    expect(table[1]).toMatchObject({ expert: 0, group: 'any', difference: expect.closeTo(0.4, 6), found: null });
    expect(table[2]).toMatchObject({ expert: 1, difference: expect.closeTo(-0.4, 6), selected: false });
    const strict = activation(rows, header, { threshold: 0.5 }).objects() as Row[];
    expect(strict.some(row => row.selected)).toBe(false);
  });
  it('the baseline against itself: its two items are alike, so halves do not differ; alone it has no halves', () => {
    expect(halvesNull(counts, header, seedrandom('halves'))).toEqual([0]);
    expect(halvesNull(counts, header, seedrandom('halves'), { pivot: 'task' })[0]).toBeCloseTo(0.2, 6);
    const single = { ...counts, language: Int32Array.of(0, 0, 0, 1) };
    expect(halvesNull(single, header, seedrandom('halves'))).toEqual([null]);
  });
  it('a pivot that the trace does not have is refused', () => {
    expect(() => activation(rows, header, { pivot: 'fr' })).toThrow('The trace has no language fr to compare with');
    const absent = activation(tinyRows([[[0.5, 0.5], null]]), header).objects() as Row[];
    expect(absent[0]).toMatchObject({ difference: null, selected: false });
  });
  it('any language: the maximum, tested against the maximum; found where planted', () => {
    const { counts: planted, header: of } = simulated();
    const statistics = [activationStatistic(of, 'l00'), anyActivationStatistic(of, 'l00')];
    const options = { view: 'selection', draws: 100, permutations: 199, seed: 'any' } as const;
    const estimates = resample(planted, of, statistics, options);
    const observed = languageRows(planted, 'selection', 'documents', of);
    const table = activation(observed, of, {
      pivot: 'l00',
      estimates: estimates.get('activation'),
      anyEstimates: estimates.get('any activation'),
    }).objects() as Row[];
    const found = (layer: number, any: boolean) =>
      table.filter(row => row.layer === layer && (row.group === 'any') === any && row.found);
    expect([found(0, false).length, found(0, true).length]).toEqual([0, 0]);
    expect(found(1, false).length).toBeGreaterThan(1);
    expect(found(1, true).length).toBeGreaterThan(1);
    expect(table.find(row => row.layer === 1 && row.group === 'l01')).toMatchObject({ low: expect.any(Number) });
  });
});

describe('obedience (A1)', () => {
  it('purity: families that never share an expert give their identity away', () => {
    const rows = [
      [1, 0],
      [1, 0],
      [0, 1],
    ];
    const statistic = purityStatistic(['A', 'A', 'B']);
    expect(statistic.of(tinyRows([rows]))[0]).toBeCloseTo(1, 12);
    expect(purityStatistic(['A', 'A', 'A']).of(tinyRows([rows]))[0]).toBeNaN();
  });
  it('chosen and mass with intervals; shuffled languages give the load of the expert', () => {
    const { counts, header: nobody } = simulated();
    const header = { ...nobody, languages: nobody.languages.map((row, expert) => ({ ...row, expert })) };
    const options = { view: 'selection', draws: 100, permutations: 199, seed: 'obedience' } as const;
    const chosen = resample(counts, header, [obedienceStatistic(header, 'chosen')], options).get('chosen')!;
    const gate = { ...options, view: 'gate' } as const;
    const mass = resample(counts, header, [obedienceStatistic(header, 'mass')], gate).get('mass')!;
    const table = (view: 'selection' | 'gate') =>
      rowsToUsage(languageRows(counts, view, 'documents', header), counts, header);
    const rows = obedience(table('selection'), table('gate'), header, { chosen, mass }).objects() as Row[];
    expect(rows).toHaveLength(6);
    for (const [i, row] of rows.entries()) {
      expect(chosen[i].plugIn).toBeCloseTo(row.chosen as number, 12);
      expect(mass[i].plugIn).toBeCloseTo((row.chosen as number) / 2, 6);
      expect(row).toMatchObject({ low: chosen[i].low, massHigh: mass[i].high, uniform: 2 / 12 });
      expect(chosen[i].nullMean).toBeCloseTo(row.popular as number, 1);
    }
    expect(obedienceStatistic(nobody, 'chosen').of(tinyRows([[BN, EN, BN]]))[0]).toBeNaN();
  });
});

describe('forced–free gap (A2)', () => {
  const row = (language: string, item: string, free: number, given: number) => {
    return { language, item, tokens: 10, bytes: 40, free, given };
  };
  const options = { random: seedrandom('gap'), draws: 200 };
  it('nats per token and bits per byte, paired by document, mean over languages', () => {
    const table = from([row('en', 'a', 30, 20), row('en', 'b', 20, 20), row('fi', 'a', 50, 60)]);
    const perToken = forcedGap(table, { unit: 'nats per token', ...options }).objects() as Row[];
    expect(perToken[0]).toMatchObject({ group: 'en', documents: 2, free: 2.5, given: 2, gap: -0.5 });
    // delete-one gaps 0 and −1: se = √(1/2 · 1/2) = .5
    expect(perToken[0]).toMatchObject({ se: expect.closeTo(0.5, 12), interval: 'jackknife' });
    expect(perToken[1]).toMatchObject({ group: 'fi', gap: 1, se: null, low: null, p: null, interval: null });
    expect(perToken[2]).toMatchObject({ group: 'all', documents: 3, free: 3.75, given: 4, gap: 0.25 });
    const perByte = forcedGap(table, { unit: 'bits per byte', ...options }).objects() as Row[];
    expect(perByte[0].gap).toBeCloseTo(-10 / 80 / Math.LN2, 12);
  });
  it('a steady gap is found and lies in its interval; no gap is not found', () => {
    const random = seedrandom('losses');
    const documents = Array.from({ length: 40 }, (_, i) => {
      const free = 20 + 10 * random();
      const noise = random() - 0.5;
      return [row('en', `${i}`, free, free - 2 + 4 * noise), row('fi', `${i}`, free, free + noise)];
    }).flat();
    const [en, fi, all] = forcedGap(from(documents), { unit: 'nats per token', ...options }).objects() as Row[];
    expect(en).toMatchObject({ p: 1 / 201, interval: 'bootstrap' });
    expect((en.low as number) < -0.2 && (en.high as number) > -0.2 && (en.high as number) < 0).toBe(true);
    expect(fi.p).toBeGreaterThan(0.05);
    expect((fi.low as number) < 0 && (fi.high as number) > 0).toBe(true);
    expect(all.gap).toBeCloseTo(((en.gap as number) + (fi.gap as number)) / 2, 12);
    expect((all.high as number) - (all.low as number)).toBeLessThan((en.high as number) - (en.low as number));
  });
  it('documents without a given loss are left out; none leaves an empty table', () => {
    const table = from([{ ...row('en', 'a', 1, 1), given: null }]);
    expect(forcedGap(table, { unit: 'nats per token', ...options }).numRows()).toBe(0);
  });
});

describe('correlation over languages', () => {
  const { divergence, score, covariate } = golden;
  it('scipy: Pearson, Spearman with ties, and both with a covariate', () => {
    expect(correlationOf(divergence, score)).toBeCloseTo(golden.pearson, 10);
    expect(correlationOf(divergence, score, 'spearman')).toBeCloseTo(golden.spearman, 10);
    expect(correlationOf(divergence, score, 'pearson', [covariate])).toBeCloseTo(golden.partialPearson, 10);
    expect(correlationOf(divergence, score, 'spearman', [covariate])).toBeCloseTo(golden.partialSpearman, 10);
  });
  it('ranks share ties; constants have no correlation', () => {
    close(ranks([5, 1, 5, 2]), [3.5, 1, 3.5, 2]);
    expect(correlationOf([1, 1, 1], [1, 2, 3])).toBeNaN();
    expect(correlationOf([1, 2, 3], [2, 4, 6], 'pearson', [[1, 2, 3]])).toBeNaN();
  });
  const codes = Array.from({ length: 20 }, (_, i) => `l${i}`);
  const header = tinyHeader(
    Object.fromEntries(codes.map(code => [code, { family: code === 'l0' ? 'A' : 'B' }])),
    2,
    1,
    2,
  );
  const random = seedrandom('scores');
  const noise = codes.map(() => random());
  const table = from(
    [0, 1].flatMap(layer => codes.map((group, i) => ({ layer, group, distance: layer === 0 ? random() : i / 20 }))),
  );
  const scores = new Map(codes.map((code, i) => [code, -i + 4 * noise[i]]));
  it('a layer where it is planted is found, family-wise; its interval holds r and stays in −1…1', () => {
    const rows = correlation(table, header, scores, { random, draws: 400 }).objects() as Row[];
    expect(rows.map(({ layer, method }) => `${layer} ${method}`)).toEqual([
      '0 pearson',
      '1 pearson',
      '0 spearman',
      '1 spearman',
    ]);
    for (const row of [rows[1], rows[3]]) {
      expect(row).toMatchObject({ languages: 20, p: 1 / 401, familyWise: 1 / 401 });
      expect(row.r).toBeLessThan(-0.9);
      expect((row.low as number) >= -1 && (row.low as number) < (row.r as number)).toBe(true);
      expect((row.high as number) < -0.5 && (row.high as number) > (row.r as number)).toBe(true);
    }
    expect(rows[0].p).toBeGreaterThan(0.05);
    expect(rows[0].familyWise).toBeGreaterThanOrEqual(rows[0].p as number);
  });
  it('a covariate that explains the score takes it away', () => {
    const covariates = [new Map(codes.map((code, i) => [code, i + 0.001 * noise[i]]))];
    const rows = correlation(table, header, scores, { random, covariates, draws: 200 }).objects() as Row[];
    expect(rows[1]).toMatchObject({ covariates: 1 });
    expect(Math.abs(rows[3].r as number) < 0.6).toBe(true);
  });
  it('languages without a score or a distance are left out; three are too few', () => {
    const few = new Map([...scores].slice(0, 3));
    const [row] = correlation(table, header, few, { random, draws: 10 }).objects() as Row[];
    expect(row).toMatchObject({ languages: 3, r: null, low: null, p: null });
    const points = correlationPoints(table, header, few, 1).objects();
    expect(points).toEqual([
      { group: 'l0', family: 'A', x: 0, y: few.get('l0') },
      { group: 'l1', family: 'B', x: 1 / 20, y: few.get('l1') },
      { group: 'l2', family: 'B', x: 2 / 20, y: few.get('l2') },
    ]);
  });
});
