// M4, divergence from a pivot, at both levels; M2's collapse of deep layers. Printed numbers and planted cases.
import { describe, expect, it } from 'vitest';
import { collapse, collapseGaps, collapseStatistic } from '../../analysis/collapse.ts';
import { divergence, entropyNormalised, jensenShannon, pivotOf } from '../../analysis/divergence.ts';
import { halves, sameLanguageDistance } from '../../analysis/divergence-baseline.ts';
import type { DocumentCounts } from '../../analysis/document-counts.ts';
import { itemDivergence } from '../../analysis/item-divergence.ts';
import { distanceOf, distanceStatistic, meanDistanceStatistic } from '../../analysis/pivot-distance.ts';
import { resample } from '../../analysis/resample.ts';
import { languageRows } from '../../analysis/rows.ts';
import { simulate } from '../helpers/simulate.ts';
import { tinyHeader, tinyRows } from '../helpers/tiny-rows.ts';

type Row = Record<string, number | string | null>;
const rowsOf = (table: { objects(): object[] }) => table.objects() as Row[];

describe('two rows', () => {
  const [p, q] = [
    [0.7, 0.1, 0.1, 0.1],
    [0.1, 0.7, 0.1, 0.1],
  ];
  it('[.7 .1 .1 .1] v [.1 .7 .1 .1]: JSD .253102, distance .604275, h_js .567688', () => {
    expect(jensenShannon(p, q)).toBeCloseTo(0.253102, 6);
    expect(distanceOf(jensenShannon(p, q))).toBeCloseTo(0.604275, 6);
    expect(entropyNormalised(p, q)).toBeCloseTo(0.567688, 6);
  });
  it('h_js is 1 only if the midpoint is uniform: disjoint halves of 4 experts 1, of 8 experts .5; one-hots of 7 .356207', () => {
    const at = (E: number, ...places: number[]) =>
      Array.from({ length: E }, (_, e) => (places.includes(e) ? 1 / places.length : 0));
    expect(entropyNormalised(at(4, 0, 1), at(4, 2, 3))).toBeCloseTo(1, 12);
    expect(entropyNormalised(at(8, 0, 1), at(8, 2, 3))).toBeCloseTo(0.5, 12);
    expect(entropyNormalised(at(7, 0), at(7, 1))).toBeCloseTo(0.356207, 6);
    expect(distanceOf(jensenShannon(at(8, 0, 1), at(8, 2, 3)))).toBeCloseTo(1, 12);
  });
  it('h_js inflates flat rows: [.4 .3 .2 .1] v uniform has JS .027866 and h_js .523592', () => {
    const flat = [0.25, 0.25, 0.25, 0.25];
    expect(jensenShannon([0.4, 0.3, 0.2, 0.1], flat)).toBeCloseTo(0.027866, 6);
    expect(entropyNormalised([0.4, 0.3, 0.2, 0.1], flat)).toBeCloseTo(0.523592, 6);
    expect(entropyNormalised(flat, flat)).toBeNull();
  });
});

describe('at the level of the corpus', () => {
  const rows = tinyRows([
    [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], null],
    [[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25], null],
  ]);
  const header = tinyHeader({ en: {}, bn: {}, xx: {} }, 4, 1, 2);
  it('one row per layer and language; the pivot at 0, the absent null, uniform rows without h_js', () => {
    const table = divergence(rows, header, { baseline: [0.1, 0.2, Number.NaN, 0, 0, 0] });
    expect(table.columnNames()).toEqual('layer group js distance normalised baseline excess low high'.split(' '));
    const [en, bn, xx, , flat] = rowsOf(table);
    expect(en).toMatchObject({ group: 'en', js: 0, distance: 0, normalised: 0 });
    expect(bn.js).toBeCloseTo(0.253102, 6);
    expect(bn.excess).toBeCloseTo(0.604275 - 0.2, 6);
    expect(xx).toMatchObject({ js: null, distance: null, normalised: null, baseline: null, excess: null });
    expect(flat).toMatchObject({ group: 'bn', distance: 0, normalised: null });
  });
  it('the statistic gives the same distances, and their mean without the pivot', () => {
    expect([...(distanceStatistic(0).of(rows) as Float64Array)].map(d => Number(d.toFixed(6)))).toEqual([
      0,
      0.604275,
      Number.NaN,
      0,
      0,
      Number.NaN,
    ]);
    const [first, second] = meanDistanceStatistic(0).of(rows) as Float64Array;
    expect(first).toBeCloseTo(0.604275, 6);
    expect(second).toBe(0);
    expect([...(distanceStatistic(2).of(rows) as Float64Array)].every(Number.isNaN)).toBe(true);
  });
  it('takes English as pivot, else the language with most text', () => {
    expect(pivotOf(tinyHeader({ bn: {}, en: {} }, 2))).toBe(1);
    const other = tinyHeader({ bn: {}, sw: {} }, 2);
    other.languages[1].trainingBytes = 5;
    expect(pivotOf(other)).toBe(1);
  });
  it('planted: the interval holds the distance and lies above the same-language baseline where language is', () => {
    const { counts, header: of } = simulate({
      ...{ languages: 3, items: 60, experts: 8, k: 2, tokens: 20, strengths: [0, 1.2], concentration: 20 },
      seed: 'divergence',
    });
    const selection = languageRows(counts, 'selection', 'documents', of);
    const options = { view: 'selection' as const, seed: 'd' };
    const estimates = resample(counts, of, [distanceStatistic(0)], { ...options, draws: 300 }).get('distance')!;
    const baseline = sameLanguageDistance(counts, of, options);
    const list = rowsOf(divergence(selection, of, { pivot: 0, estimates, baseline }));
    const [, none, , , some] = list;
    expect(some.excess).toBeGreaterThan(0.15);
    expect(some.low).toBeGreaterThan(some.baseline as number);
    expect(some.high).toBeGreaterThan(some.distance as number);
    expect(Math.abs(none.excess as number)).toBeLessThan(0.03);
    expect(none.low).toBeLessThan(0.03);
  });
});

describe('same-language baseline', () => {
  it('deals documents of neighbouring length to different halves, the odd one to none', () => {
    const language = Int32Array.of(0, 0, 0, 0, 0, 1, 1);
    const tokens = Float64Array.of(5, 90, 6, 80, 200, 3, 3);
    for (const value of [0.1, 0.9]) {
      const side = halves({ language, tokens }, 2, () => value);
      expect(side[0] + side[2]).toBe(1);
      expect(side[1] + side[3]).toBe(1);
      expect(side[4]).toBe(2);
      expect(side[5] + side[6]).toBe(1);
    }
  });
  it('is 0 for a language whose documents all route alike, NaN for one document', () => {
    const cells = Float32Array.of(1, 3, 2, 6, 5, 0);
    const counts: DocumentCounts = {
      document: Int32Array.of(0, 1, 2),
      language: Int32Array.of(0, 0, 1),
      item: Int32Array.of(0, 1, 0),
      items: 2,
      tokens: Float64Array.of(4, 8, 5),
      count: [cells],
      gate: [cells],
      softmax: null,
      dropped: { special: 0, first: 0 },
    };
    const header = tinyHeader({ en: {}, bn: {} }, 2);
    const [same, lone] = sameLanguageDistance(counts, header, { view: 'selection', seed: 's' });
    expect(same).toBeCloseTo(0, 7);
    expect(lone).toBeNaN();
  });
});

describe('per item, as published', () => {
  // item 0: en [.7 .1 .1 .1], bn [.1 .7 .1 .1]: .567688; item 1: the same row twice: 0; item 2 has no English
  const softmax = Float32Array.of(
    ...[0.7, 0.1, 0.1, 0.1],
    ...[0.1, 0.7, 0.1, 0.1],
    ...[0.7, 0.1, 0.1, 0.1],
    ...[0.7, 0.1, 0.1, 0.1],
    ...[0.25, 0.25, 0.25, 0.25],
  );
  const counts: DocumentCounts = {
    document: Int32Array.of(0, 1, 2, 3, 4),
    language: Int32Array.of(0, 1, 0, 1, 1),
    item: Int32Array.of(0, 0, 1, 1, 2),
    items: 3,
    tokens: Float64Array.of(30, 40, 30, 41, 500),
    count: [softmax],
    gate: [softmax],
    softmax: [softmax],
    dropped: { special: 0, first: 0 },
  };
  const header = tinyHeader({ en: {}, bn: {} }, 4);
  it('is the mean of h_js over shared items, minus what documents of one language differ by', () => {
    const [en, bn] = rowsOf(itemDivergence(counts, header, { seed: 'i' }));
    expect(bn).toMatchObject({ group: 'bn', items: 2, low: null, high: null });
    expect(bn.divergence).toBeCloseTo(0.567688 / 2, 6);
    // by length 40, 41 | 500: the pair (40, 41) is [.1 .7 .1 .1] v [.7 .1 .1 .1]
    expect(bn.baseline).toBeCloseTo(0.567688, 6);
    expect(bn.excess).toBeCloseTo(-0.567688 / 2, 6);
    expect(en).toMatchObject({ items: 0, divergence: null });
    expect(en.baseline).toBeCloseTo(0, 6);
  });
  it('needs the softmax, or another view by name', () => {
    const without = { ...counts, softmax: null };
    expect(() => itemDivergence(without, header, { seed: 'i' })).toThrow(/softmax/);
    expect(rowsOf(itemDivergence(without, header, { seed: 'i', view: 'gate' }))[1].divergence).toBeCloseTo(0.283844, 6);
  });
  it('has an interval from 30 items on, and is biased up by short documents, which the corpus level is not', () => {
    const { counts: many, header: of } = simulate({
      ...{ languages: 2, items: 200, experts: 8, k: 2, tokens: 8, strengths: [0], concentration: 20, seed: 'short' },
    });
    const [, item] = rowsOf(itemDivergence(many, of, { pivot: 0, draws: 200, seed: 'i' }));
    expect(item.low).toBeLessThan(item.divergence as number);
    expect(item.high).toBeGreaterThan(item.divergence as number);
    const [, corpus] = rowsOf(divergence(languageRows(many, 'softmax', 'documents', of), of, { pivot: 0 }));
    expect(item.divergence).toBeGreaterThan(5 * (corpus.normalised as number));
    expect(Math.abs(item.excess as number)).toBeLessThan(0.1 * (item.divergence as number));
  });
});

describe('collapse of deep layers', () => {
  it('is the fall of h against the pivot, last ⌈L/8⌉ layers against the middle half', () => {
    const [wide, half, one] = [
      [0.25, 0.25, 0.25, 0.25],
      [0.5, 0.5, 0, 0],
      [1, 0, 0, 0],
    ];
    // h of the second language: 1 in the first quarter, ½ in the middle, 0 in the last layer; the pivot's always 1
    const rows = tinyRows([wide, wide, half, half, half, half, wide, one].map(row => [wide, row]));
    expect([...collapseGaps(rows, 0)]).toEqual([0, 0.5]);
    const nine = tinyRows([wide, wide, half, half, half, half, half, one, half].map(row => [wide, row]));
    expect(collapseGaps(nine, 0)[1]).toBeCloseTo(0.75 - 0.5, 12);
  });
  it('as a table with intervals', () => {
    const { counts, header } = simulate({
      ...{ languages: 2, items: 40, experts: 6, k: 1, tokens: 20, strengths: new Array(8).fill(0), concentration: 9 },
      seed: 'collapse',
    });
    // the second language goes to one expert in the last layer
    for (let d = 1; d < counts.document.length; d += 2) {
      counts.count[7].fill(0, d * 6, d * 6 + 6);
      counts.count[7][d * 6] = 20;
    }
    const options = { view: 'selection' as const, seed: 'c', draws: 200 };
    const estimates = resample(counts, header, [collapseStatistic(0)], options).get('collapse')!;
    const [pivot, other] = rowsOf(collapse(header, estimates));
    expect(pivot).toMatchObject({ group: 'l00', gap: 0 });
    expect(other.gap).toBeGreaterThan(0.6);
    expect(other.low).toBeGreaterThan(0.5);
    expect(other.high).toBeLessThanOrEqual(1);
  });
});
