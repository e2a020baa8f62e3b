// The test of late spread: worked example, planted routers, models and traces that cannot tell, and what is said of them.
import { describe, expect, it } from 'vitest';
import { bandsOf, noDepth } from '../../analysis/bands.ts';
import { contrastOf } from '../../analysis/contrast.ts';
import { contrastsOf, verdictOf } from '../../analysis/contrasts.ts';
import { profileStatistic, spreadStatistics } from '../../analysis/depth-profiles.ts';
import { meanDistanceStatistic } from '../../analysis/pivot-distance.ts';
import { type Distribution, distributions } from '../../analysis/resample.ts';
import { type Spread, spread, spreadOf } from '../../analysis/spread.ts';
import { spreadControls } from '../../analysis/spread-controls.ts';
import { overSeeds, spreadOverSeeds } from '../../analysis/spread-seeds.ts';
import {
  attributionSentence,
  concentrationSentence,
  controlSentences,
  distanceSentence,
  spreadSentence,
} from '../../analysis/spread-sentence.ts';
import { seedTable, spreadTable } from '../../analysis/spread-table.ts';
import { simulate } from '../helpers/simulate.ts';
import { tinyRows } from '../helpers/tiny-rows.ts';

const NONE = [0, 0, 0, 0, 0, 0, 0, 0];
const LATE = [0, 0, 0, 0, 0, 0, 0.8, 0.8];
const ENDS = [0.8, 0.8, 0, 0, 0, 0, 0.8, 0.8];
const planted = (strengths: number[], more: object = {}) =>
  simulate({
    ...{ languages: 4, items: 40, experts: 6, k: 2, tokens: 15, strengths, concentration: 6, seed: 'spread' },
    ...more,
  });
const quick = { seed: 'test', draws: 300, permutations: 99 };
const judged = (strengths: number[], more: object = {}): Spread => {
  const { counts, header } = planted(strengths, more);
  return spread(counts, header, quick);
};
const flat = (plugIn: number[]): Distribution => ({
  plugIn: Float64Array.from(plugIn),
  jackknife: [],
  bootstrap: [],
  permuted: [],
});

describe('bands', () => {
  it('are quarters and the half between, whole layers; thirds below eight', () => {
    const sizes = (L: number) => Object.values(bandsOf(L)).map(band => band.length);
    expect(sizes(24)).toEqual([6, 12, 6]);
    expect(sizes(10)).toEqual([2, 6, 2]);
    expect(sizes(8)).toEqual([2, 4, 2]);
    expect(sizes(7)).toEqual([2, 3, 2]);
    expect(sizes(6)).toEqual([2, 2, 2]);
    expect(sizes(3)).toEqual([1, 1, 1]);
    expect(bandsOf(6)).toEqual({ early: [0, 1], middle: [2, 3], late: [4, 5] });
  });
  it('may end with the last two layers', () => {
    expect(bandsOf(24, 'last-two').late).toEqual([22, 23]);
    expect(bandsOf(24, 'last-two').middle).toEqual(bandsOf(24).middle);
    expect(bandsOf(4, 'last-two')).toEqual({ early: [0], middle: [1], late: [2, 3] });
    expect(bandsOf(3, 'last-two')).toEqual({ early: [0], middle: [1], late: [2] });
  });
  it('do not exist where MoE does not span the depth', () => {
    const all = (n: number) => Array.from({ length: n }, (_, l) => l);
    expect(noDepth({ moeLayers: all(24), numLayers: 24 })).toBeNull();
    expect(noDepth({ moeLayers: all(27).map(l => l + 1), numLayers: 28 })).toBeNull();
    expect(noDepth({ moeLayers: [1, 3, 5, 7, 9, 11], numLayers: 12 })).toBeNull();
    expect(noDepth({ moeLayers: [0, 2, 4, 6, 8, 10], numLayers: 12 })).toBeNull();
    expect(noDepth({ moeLayers: [22, 23], numLayers: 24 })).toMatch(/layers 22 to 23 alone, of 24/);
    expect(noDepth({ moeLayers: [23], numLayers: 24 })).toMatch(/layer 23 alone/);
    expect(noDepth({ moeLayers: [0, 1], numLayers: 24 })).toMatch(/only the beginning/);
    expect(noDepth({ moeLayers: [0, 1], numLayers: 2 })).toMatch(/2 MoE layers/);
    expect(noDepth({ moeLayers: [], numLayers: 2 })).toMatch(/no MoE layer/);
  });
});

describe('contrasts', () => {
  it('D = [.12 .05 .04 .06 .20 .30] in pairs: .085, .05, .25, index .165, early − middle .035', () => {
    const { early, middle, late, index, lateEarly, lateMiddle, earlyMiddle } = contrastsOf(
      flat([0.12, 0.05, 0.04, 0.06, 0.2, 0.3]),
      bandsOf(6),
    );
    const values = [early, middle, late, index, lateEarly, lateMiddle, earlyMiddle].map(({ estimate }) => estimate);
    for (const [i, value] of [0.085, 0.05, 0.25, 0.165, 0.165, 0.2, 0.035].entries()) {
      expect(values[i]).toBeCloseTo(value, 12);
    }
  });
  it('take the bias off every layer and reflect the draws around the corrected value', () => {
    // two layers; the jackknife finds a bias of .2 in the second: 1 − 0 corrected by .2 is .8
    const profile: Distribution = {
      plugIn: Float64Array.of(0, 1),
      jackknife: [Float64Array.of(0, 0, 0), Float64Array.of(1, 1.1, 1.2)],
      bootstrap: [new Float64Array(101), Float64Array.from({ length: 101 }, (_, i) => 1.2 + i / 100)],
      permuted: [],
    };
    const { plugIn, estimate, se, low, high, bound } = contrastOf(profile, d => d[1] - d[0]);
    expect([plugIn, estimate]).toEqual([1, 0.8].map(value => expect.closeTo(value, 12)));
    expect(se).toBeCloseTo(Math.sqrt((2 / 3) * 0.02), 12);
    // draws lie .2 to 1.2 above the plug-in, so the value lies that far below it: 1.8 − (1 + q)
    expect(low).toBeCloseTo(0.8 + 1 - (1.0 + 0.975), 12);
    expect(high).toBeCloseTo(0.8 + 1 - (1.0 + 0.025), 12);
    expect(bound).toBeCloseTo(0.8 + 1 - (1.0 + 0.95), 12);
  });
  it('D is 1 where the expert tells the language, 0 where it tells nothing', () => {
    const own = [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ];
    const [told, hidden, absent] = [own, [own[0], own[0], own[0]], [own[0], null, own[2]]];
    expect(profileStatistic.of(tinyRows([told, hidden]))[0]).toBeCloseTo(1, 12);
    expect(profileStatistic.of(tinyRows([told, hidden]))[1]).toBeCloseTo(0, 12);
    expect(profileStatistic.of(tinyRows([absent]))[0]).toBeCloseTo(1, 12);
  });
  it('need both of their bounds above 0', () => {
    const at = (lateEarly: number | null, lateMiddle: number | null, earlyMiddle: number | null) => {
      const contrast = (bound: number | null) => ({ plugIn: 0, estimate: 0, se: 1, low: null, high: null, bound });
      return verdictOf({
        lateEarly: contrast(lateEarly),
        lateMiddle: contrast(lateMiddle),
        earlyMiddle: contrast(earlyMiddle),
      });
    };
    expect(at(1, 1, -1)).toBe('late spread');
    expect(at(1, 1, 1)).toBe('both');
    expect(at(-1, 1, 1)).toBe('U-shape');
    expect(at(1, -1, -1)).toBe('neither');
    expect(at(1, -1, 1)).toBe('neither');
    expect(at(-1, 1, -1)).toBe('neither');
    expect(at(1, 0, -1)).toBe('neither');
    expect(at(1, 1, null)).toBe('cannot tell');
  });
});

describe('planted routers', () => {
  it('language in the last two layers alone: late spread', () => {
    for (const seed of ['a', 'b', 'c', 'd', 'e', 'f']) expect(judged(LATE, { seed }).verdict).toBe('late spread');
  });
  it('language at both ends: both, or the U alone, and each is met', () => {
    const verdicts = new Set(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map(seed => judged(ENDS, { seed }).verdict));
    expect([...verdicts].sort()).toEqual(['U-shape', 'both']);
  });
  it('no language anywhere: neither, and the smallest index to be found is told', () => {
    for (const seed of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const { verdict, smallest } = judged(NONE, { seed });
      expect(verdict).toBe('neither');
      expect(smallest).toBeGreaterThan(0.002);
      expect(smallest).toBeLessThan(0.03);
    }
  });
  it('language in the first layers alone is no late spread', () => {
    expect(judged([...LATE].reverse()).verdict).toBe('neither');
  });
  it('H0-A: language in one layer is found there, family-wise, and nowhere else', () => {
    const { profile } = judged([0, 0, 0, 0.8, 0, 0, 0, 0]);
    expect(profile.map(({ pFamily }) => pFamily! <= 0.05)).toEqual(NONE.map((_, l) => l === 3));
  });
  it('documents without parallel items: the same, drawn inside each language', () => {
    const { verdict, units } = judged(LATE, { parallel: false });
    expect({ verdict, units }).toEqual({ verdict: 'late spread', units: { kind: 'documents', number: 40 } });
  });
  it('the interval of the index holds the index, and few texts make it wider', () => {
    const { index } = judged(LATE).contrasts!;
    expect(index.low!).toBeLessThan(index.estimate);
    expect(index.high!).toBeGreaterThan(index.estimate);
    expect(index.bound!).toBeGreaterThan(index.low!);
    const many = judged(LATE, { items: 160 }).contrasts!.index;
    expect((index.high! - index.low!) / (many.high! - many.low!)).toBeGreaterThan(1.4);
  });
});

describe('early concentration', () => {
  // early layers: two experts for all; late layers: all six, by language
  it('is seen where early layers share few experts', () => {
    const { counts, header } = planted(LATE);
    for (const l of [0, 1]) {
      for (let d = 0; d < counts.document.length; d++) {
        for (let e = 0; e < 6; e++) counts.count[l][d * 6 + e] = e < 2 ? 15 : 0;
      }
    }
    const { concentration } = spread(counts, header, quick);
    expect(concentration!.verdict).toBe('yes');
    expect(concentration!.effective.estimate).toBeGreaterThan(2);
    expect(concentration!.overlap.estimate).toBeLessThan(-0.1);
    expect(concentration!.nodes.estimate).toBeGreaterThanOrEqual(0.5);
  });
  it('is denied where early layers are the wide ones', () => {
    const { counts, header } = planted([...LATE].reverse());
    for (const l of [6, 7]) {
      for (let d = 0; d < counts.document.length; d++) {
        for (let e = 0; e < 6; e++) counts.count[l][d * 6 + e] = e < 2 ? 15 : 0;
      }
    }
    const result = spread(counts, header, quick);
    expect(result.concentration!.verdict).toBe('no');
    expect(concentrationSentence(result, 0.01)).toMatch(/experts: no\. .*coefficient 0.01/);
  });
});

describe('distance to a pivot', () => {
  it('is judged beside the information where it was resampled too', () => {
    const { counts, header } = planted(LATE);
    const options = { ...quick, view: 'selection' as const };
    const both = [...spreadStatistics, meanDistanceStatistic(0)];
    const result = spreadOf(distributions(counts, header, both, options), header);
    expect(result.distance!.verdict).toBe('late spread');
    expect(result.distance!.contrasts.index.estimate).toBeGreaterThan(0.1);
    expect(distanceSentence(result, 'English')).toMatch(
      /^Measured by distance from English \(0 to 1\), the profile says the same: .* \+0\.\d{3} \[\+0\.\d{3}, \+0\.\d{3}\]\.$/,
    );
    const other = { ...result, verdict: 'neither' as const };
    expect(distanceSentence(other, 'English')).toMatch(/says otherwise \(late spread\)/);
    expect(spreadOf(distributions(counts, header, spreadStatistics, options), header).distance).toBeNull();
    expect(distanceSentence({ ...result, distance: null }, 'English')).toBe('');
  });
});

describe('what cannot be told', () => {
  const { counts, header } = planted(LATE);
  it('Post-MoE: MoE in the last layers alone', () => {
    const post = { ...header, numLayers: 24, moeLayers: [22, 23] };
    const ends = { ...counts, count: counts.count.slice(6) };
    const result = spread(ends, post, quick);
    expect(result.verdict).toBe('cannot tell');
    expect(result.profile.length).toBe(2);
    expect(spreadSentence(result)).toBe(
      'Cannot tell whether routing spreads out by language in the end: only the end of the model routes ' +
        '(layers 22 to 23 alone, of 24), so there are no early layers to compare with.',
    );
    expect(concentrationSentence(result)).toBe('');
    expect(spreadTable('x', result).numRows()).toBe(0);
  });
  it('one language, no text, too few texts', () => {
    const only = (keep: (d: number) => boolean) => {
      const documents = [...counts.document].filter(keep);
      const pick = (cells: Float32Array) =>
        Float32Array.from(documents.flatMap(d => [...cells.subarray(d * 6, d * 6 + 6)]));
      return {
        ...counts,
        document: Int32Array.from(documents),
        language: Int32Array.from(documents, d => counts.language[d]),
        item: Int32Array.from(documents, d => counts.item[d]),
        tokens: Float64Array.from(documents, d => counts.tokens[d]),
        count: counts.count.map(pick),
      };
    };
    const said = (keep: (d: number) => boolean) => spreadSentence(spread(only(keep), header, quick));
    expect(said(d => d % 4 === 0)).toMatch(/only one language has two documents or more\.$/);
    expect(said(() => false)).toMatch(/no language has two documents with counted tokens\.$/);
    const few = spread(
      only(d => d < 40),
      header,
      quick,
    );
    expect(few.verdict).toBe('cannot tell');
    expect(few.contrasts!.index).toMatchObject({ low: null, high: null, bound: null });
    expect(few.contrasts!.index.se).toBeGreaterThan(0);
    expect(spreadSentence(few)).toMatch(
      /^Cannot tell .*: 10 parallel items per language, fewer than 30: jackknife alone/,
    );
  });
});

describe('words and tables', () => {
  it('late spread, with its numbers', () => {
    const result = judged(LATE);
    expect(spreadSentence(result)).toMatch(
      /^Late spread: experts tell languages apart best in the last 2 of 8 MoE layers: the expert of a token gives away \d+\.\d % of its language's identity in the last 2, \d\.\d % in the first 2 and \d\.\d % in the 4 between \(late minus the larger of both \+\d+\.\d points, 95 % interval \+\d+\.\d to \+\d+\.\d; 40 parallel texts in each of 4 languages, one trained model\)\.$/,
    );
    const table = spreadTable('model', result).objects() as { contrast: string; kind: string; estimate: number }[];
    expect(table.map(({ contrast }) => contrast)).toEqual(['index', 'late-early', 'late-middle', 'early-middle']);
    expect(table[0].estimate).toBe(result.contrasts!.index.estimate);
  });
  it('the other verdicts say what they are, neither says what would have been found', () => {
    const none =
      /^Neither late spread nor a U-shape: in none of the 8 MoE layers .* beyond chance: .*; \+\d\.\d would be found 8 times in 10;/;
    expect(spreadSentence(judged(NONE))).toMatch(none);
    expect(spreadSentence(judged([...LATE].reverse()))).toMatch(
      /: experts do not tell languages apart better in the last 2 /,
    );
    const ends = spreadSentence(judged(ENDS));
    expect(ends).toMatch(/^(U-shape|Late spread on top of a U-shape): /);
  });
});

describe('controls', () => {
  const { counts, header } = planted(LATE, { languages: 6 });
  const options = { ...quick, view: 'selection' as const };
  const resampling = distributions(counts, header, spreadStatistics, options);
  const index = spreadOf(resampling, header).contrasts!.index;

  it('an untrained router that does the same leaves nothing, one without language leaves all', () => {
    const [same, minusSame] = spreadControls(counts, header, resampling, options, { untrained: counts });
    expect(same.verdict).toBe('late spread');
    expect(same.contrasts.index.estimate).toBeCloseTo(index.estimate, 12);
    expect(minusSame.contrasts.index).toMatchObject({ estimate: 0, low: 0, high: 0 });
    expect(minusSame.verdict).toBe('neither');
    const blank = planted(NONE, { languages: 6 }).counts;
    const [none, minusNone] = spreadControls(counts, header, resampling, options, { untrained: blank });
    expect([none.verdict, minusNone.verdict]).toEqual(['neither', 'late spread']);
    expect(minusNone.contrasts.lateEarly.estimate + none.contrasts.lateEarly.estimate).toBeCloseTo(
      resampledLateEarly(),
      10,
    );
    expect(() => spreadControls(counts, header, resampling, options, { untrained: { ...counts, count: [] } })).toThrow(
      /trace the same model at step 0/,
    );
  });
  const resampledLateEarly = () => spreadOf(resampling, header).contrasts!.lateEarly.estimate;

  it('same script: only languages of the commonest script, none where all share one', () => {
    const [script] = spreadControls(counts, header, resampling, options);
    expect(script).toMatchObject({ kind: 'same-script', label: '3 languages in Latn', verdict: 'late spread' });
    const one = { ...header, languages: header.languages.map(language => ({ ...language, script: 'Latn' })) };
    expect(spreadControls(counts, one, resampling, options)).toEqual([]);
    // scripts that decide everything: inside one of them nothing is left
    const byScript = planted(NONE, { languages: 6 }).counts;
    for (const l of [6, 7]) {
      for (let d = 0; d < byScript.document.length; d++) {
        const e = byScript.language[d] % 2;
        byScript.count[l].fill(0, d * 6, d * 6 + 6);
        byScript.count[l][d * 6 + e] = 15;
        byScript.count[l][d * 6 + e + 2] = 15;
      }
    }
    const again = distributions(byScript, header, spreadStatistics, options);
    expect(spreadOf(again, header).verdict).toBe('late spread');
    expect(spreadControls(byScript, header, again, options)[0].verdict).toBe('neither');
  });
  it('a late spread is one of language only where it stays beside every control', () => {
    const late = { verdict: 'late spread' as const };
    const blank = planted(NONE, { languages: 6 }).counts;
    const made = (untrained: typeof counts, conditional?: number[]) =>
      spreadControls(counts, header, resampling, options, { untrained, conditional });
    const rising = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3];
    expect(attributionSentence(late, made(blank, rising))).toBe(
      'The late spread stays against an untrained router, within one script, given the token: it is one of language.',
    );
    expect(attributionSentence(late, made(blank))).toBe(
      'The late spread stays against an untrained router, within one script. Not tried: given the token.',
    );
    expect(attributionSentence(late, made(counts, new Array(8).fill(0.1)))).toBe(
      'The late spread does not stay against an untrained router, given the token, though it stays within one script: ' +
        'it cannot be called one of language.',
    );
    expect(attributionSentence({ verdict: 'neither' }, made(blank))).toBe('');
    expect(attributionSentence(late, [])).toBe('');
  });
  it('lexical: conditional information over log n, without interval', () => {
    const conditional = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3];
    const controls = spreadControls(counts, header, resampling, options, { conditional });
    const lexical = controls[1];
    expect(lexical.kind).toBe('lexical');
    expect(lexical.contrasts.index.estimate).toBeCloseTo(0.2 / Math.log(6), 12);
    expect(lexical.verdict).toBe('cannot tell');
    expect(controlSentences(controls)[1]).toMatch(/^Given the token itself: .* \+11\.2 points \(without interval\)\.$/);
    expect(spreadControls(counts, header, resampling, options, { conditional: [null] }).length).toBe(1);
  });
});

describe('over seeds', () => {
  it('five runs: Student’s interval, t(4) = 2.776 and one-sided 2.132', () => {
    const { estimate, se, low, high, bound } = overSeeds([1, 2, 3, 4, 5]);
    expect(estimate).toBe(3);
    expect(se).toBeCloseTo(Math.sqrt(0.5), 12);
    expect(low).toBeCloseTo(3 - 2.7764451 * Math.sqrt(0.5), 6);
    expect(high).toBeCloseTo(3 + 2.7764451 * Math.sqrt(0.5), 6);
    expect(bound).toBeCloseTo(3 - 2.1318468 * Math.sqrt(0.5), 6);
  });
  it('fewer runs are points', () => {
    expect(overSeeds([1, 2, 3, 4])).toMatchObject({ estimate: 2.5, low: null, bound: null });
    expect(overSeeds([1])).toMatchObject({ estimate: 1, se: null, low: null });
  });
  it('judges a variant by the same rule', () => {
    const runs = ['a', 'b', 'c', 'd', 'e'].map(seed => judged(LATE, { seed }));
    const variant = spreadOverSeeds(runs);
    expect(variant).toMatchObject({ runs: 5, verdict: 'late spread' });
    expect(spreadOverSeeds(runs.slice(1)).verdict).toBe('cannot tell');
    expect(seedTable(new Map([['late', variant]])).objects()[0]).toMatchObject({
      label: 'late',
      kind: 'seed',
      contrast: 'index',
      low: variant.index.low,
    });
    const none = spreadOverSeeds(['a', 'b', 'c', 'd', 'e'].map(seed => judged(NONE, { seed })));
    expect(none.verdict).toBe('neither');
  });
});
