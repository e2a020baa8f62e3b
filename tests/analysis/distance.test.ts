// M6: distances, silhouettes, trees and Mantel tests by hand and against scipy, scikit-learn and statsmodels.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { discoveries } from '../../analysis/discovery.ts';
import { distance, distances, submatrix } from '../../analysis/distance.ts';
import {
  agreement,
  agreementStatistic,
  familyDistance,
  familyStatistic,
  mantelByLayer,
} from '../../analysis/family-distance.ts';
import {
  familyLabels,
  scriptDistances,
  treeDistances,
  vocabularyDistances,
  vocabularySets,
} from '../../analysis/linguistic.ts';
import { mantel } from '../../analysis/mantel.ts';
import { resample } from '../../analysis/resample.ts';
import { meanSilhouette, silhouettes } from '../../analysis/silhouette.ts';
import { criticalT, jackknifeTests, twoSided } from '../../analysis/student.ts';
import { averageLinkage, cophenetic, cutTree, leafOrder } from '../../analysis/tree.ts';
import { simulate } from '../helpers/simulate.ts';
import { tinyHeader, tinyRows } from '../helpers/tiny-rows.ts';

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'golden', 'analysis', 'distances.json'), 'utf8'),
);
const flat = (matrix: number[][]) => Float64Array.from(matrix.flat());
const close = (values: ArrayLike<number>, expected: ArrayLike<number>, digits = 10) => {
  expect(values.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) expect(values[i]).toBeCloseTo(expected[i], digits);
};

/** Four languages in two families: .2 inside, .6 between. */
const FOUR = flat([
  [0, 0.2, 0.6, 0.6],
  [0.2, 0, 0.6, 0.6],
  [0.6, 0.6, 0, 0.2],
  [0.6, 0.6, 0.2, 0],
]);
const PAIRED = ['a', 'a', 'b', 'b'];

describe('Jensen–Shannon distances', () => {
  it('[.7 .1 .1 .1] and [.1 .7 .1 .1] are .604275 apart; a language without tokens has no distance', () => {
    const rows = tinyRows([[[0.7, 0.1, 0.1, 0.1], null, [0.1, 0.7, 0.1, 0.1]]]);
    const all = distances(rows);
    expect(all[2]).toBeCloseTo(0.604275, 6);
    expect(all[6]).toBe(all[2]);
    expect([all[0], all[8]]).toEqual([0, 0]);
    expect([1, 3, 4, 5, 7].every(cell => Number.isNaN(all[cell]))).toBe(true);
  });
  it('disjoint rows are 1 apart, equal ones 0', () => {
    const rows = tinyRows([
      [
        [1, 0, 0],
        [0, 0.5, 0.5],
        [0, 0.5, 0.5],
      ],
    ]);
    close(distances(rows), [0, 1, 1, 1, 0, 0, 1, 0, 0], 12);
  });
  it('scipy', () => {
    close(distances(tinyRows([golden.rows])), golden.distance.flat());
  });
  it('as a table: each pair once, in the order of the header, with what else is known', () => {
    const header = tinyHeader({ en: { family: 'g' }, xx: {}, de: { family: 'g' }, ru: { script: 'Cyrl' } }, 2);
    const rows = tinyRows([[[1, 0], null, [1, 0], [0, 1]]]);
    const known = { tree: treeDistances(header), script: scriptDistances(header) };
    expect(distance(rows, header, known).objects()).toEqual([
      { layer: 0, a: 'en', b: 'de', distance: 0, treeDistance: 0.5, scriptDistance: 0, vocabularyDistance: null },
      { layer: 0, a: 'en', b: 'ru', distance: 1, treeDistance: 1, scriptDistance: 1, vocabularyDistance: null },
      { layer: 0, a: 'de', b: 'ru', distance: 1, treeDistance: 1, scriptDistance: 1, vocabularyDistance: null },
    ]);
  });
  it('is a metric', () => {
    const row = fc
      .array(fc.integer({ min: 0, max: 9 }), { minLength: 4, maxLength: 4 })
      .map(list => list.map((value, i) => (value + (i === 0 ? 1 : 0)) / (1 + list.reduce((a, b) => a + b, 0))));
    fc.assert(
      fc.property(row, row, row, (p, q, r) => {
        const all = distances(tinyRows([[p, q, r]]));
        expect(all[2]).toBeLessThanOrEqual(all[1] + all[5] + 1e-7);
        for (const value of all) expect(value >= 0 && value <= 1).toBe(true);
      }),
      { numRuns: 100, seed: 6 },
    );
  });
});

describe('silhouette', () => {
  it('(.6 − .2) / .6 for each of four languages in two families', () => {
    close(silhouettes(FOUR, PAIRED), [2 / 3, 2 / 3, 2 / 3, 2 / 3]);
    close(silhouettes(FOUR, ['a', 'b', 'a', 'b']), new Array(4).fill((0.4 - 0.6) / 0.6));
  });
  it('a language alone has none, or 0 if asked; one family has none', () => {
    const alone = silhouettes(FOUR, ['a', 'a', 'b', 'c']);
    close(alone.slice(0, 2), [2 / 3, 2 / 3]);
    expect(alone.slice(2)).toEqual(Float64Array.of(Number.NaN, Number.NaN));
    expect(meanSilhouette(FOUR, ['a', 'a', 'b', 'c'])).toBeCloseTo(2 / 3, 12);
    expect(meanSilhouette(FOUR, ['a', 'a', 'b', 'c'], 'zero')).toBeCloseTo(1 / 3, 12);
    expect(meanSilhouette(FOUR, ['a', 'a', 'a', 'a'])).toBeNaN();
  });
  it('scikit-learn', () => {
    close(silhouettes(flat(golden.distance), golden.family, 'zero'), golden.silhouettes);
  });
});

describe('average linkage', () => {
  // 0 and 1 at 2; {0,1} to 2 at (4 + 6) / 2 = 5; 3 to all three at (10 + 10 + 7) / 3 = 9
  const matrix = flat([
    [0, 2, 4, 10],
    [2, 0, 6, 10],
    [4, 6, 0, 7],
    [10, 10, 7, 0],
  ]);
  const merges = averageLinkage(matrix, 4);
  it('joins at mean distances', () => {
    expect(merges).toEqual([
      { a: 0, b: 1, height: 2, size: 2 },
      { a: 2, b: 4, height: 5, size: 3 },
      { a: 3, b: 5, height: 9, size: 4 },
    ]);
    close(cophenetic(merges, 4), [0, 2, 5, 9, 2, 0, 5, 9, 5, 5, 0, 9, 9, 9, 9, 0]);
    expect(leafOrder(merges, 4)).toEqual([3, 2, 0, 1]);
    expect([1, 2, 3, 4].map(groups => [...cutTree(merges, 4, groups)])).toEqual([
      [0, 0, 0, 0],
      [0, 0, 0, 1],
      [0, 0, 1, 2],
      [0, 1, 2, 3],
    ]);
  });
  it('ties go to the lower ids; one leaf is a tree', () => {
    expect(averageLinkage(new Float64Array(9).fill(1), 3)[0]).toMatchObject({ a: 0, b: 1 });
    expect(averageLinkage([0], 1)).toEqual([]);
    expect(leafOrder([], 1)).toEqual([0]);
  });
  it('scipy', () => {
    const tree = averageLinkage(flat(golden.distance), 9);
    close(
      tree.flatMap(({ a, b, height, size }) => [a, b, height, size]),
      golden.merges.flat(),
    );
    close(cophenetic(tree, 9), golden.cophenetic.flat());
  });
});

describe('Mantel', () => {
  const random = () => seedrandom('mantel');
  const target = flat(golden.tree);
  const [script, vocabulary] = [flat(golden.script), flat(golden.vocabulary)];
  const run = (against: Float64Array, controls: Float64Array[], tested = [flat(golden.distance)]) =>
    mantel(tested, against, 9, controls, { permutations: 199, random: random() });
  it('numpy: r and partial r', () => {
    expect(run(target, [])[0].r).toBeCloseTo(golden.mantel.tree, 10);
    expect(run(script, [])[0].r).toBeCloseTo(golden.mantel.script, 10);
    expect(run(target, [script, vocabulary])[0].r).toBeCloseTo(golden.partialMantel, 10);
  });
  it('four languages in two families: 8 of the 24 relabellings keep the pairs together, p = 1/3 exactly', () => {
    const tree = FOUR.map(value => (value === 0.6 ? 1 : value === 0 ? 0 : 0.5));
    const [{ r, p, permutations }] = mantel([FOUR], tree, 4, [], { random: random() });
    expect([r, permutations]).toEqual([expect.closeTo(1, 12), 24]);
    expect(p).toBeCloseTo(8 / 24, 12);
  });
  it('a planted relation is found among chance ones, family-wise too; a control that explains it takes it away', () => {
    const noise = seedrandom('noise');
    const n = 20;
    const family = Array.from({ length: n }, (_, i) => i % 4);
    const tree = Float64Array.from({ length: n * n }, (_, c) => (family[Math.floor(c / n)] === family[c % n] ? 0 : 1));
    const chance = () => {
      const matrix = new Float64Array(n * n);
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < i; j++) {
          matrix[i * n + j] = noise();
          matrix[j * n + i] = matrix[i * n + j];
        }
      }
      return matrix;
    };
    const [one, two] = [chance(), chance()];
    const planted = tree.map((value, i) => 0.5 * value + one[i]);
    const options = { permutations: 499, random: random() };
    const [found, missed] = mantel([planted, two], tree, n, [], options);
    expect(found).toMatchObject({ p: 1 / 500, familyWise: 1 / 500 });
    expect(missed.p).toBeGreaterThan(0.05);
    expect(missed.familyWise).toBeGreaterThanOrEqual(missed.p);
    expect(mantel([planted], tree, n, [tree], options)[0].r).toBeNaN();
    expect(mantel([planted], tree, n, [two], options)[0].p).toBe(1 / 500);
  });
  it('constant distances and two languages have no r', () => {
    expect(run(new Float64Array(81).fill(1), [])[0]).toMatchObject({ r: Number.NaN, p: Number.NaN });
    expect(mantel([[0, 1, 1, 0]], [0, 1, 1, 0], 2, [], { random: random() })[0].r).toBeNaN();
  });
  it('does not depend on the order of the languages', () => {
    const order = [4, 2, 8, 0, 1, 7, 3, 6, 5];
    const moved = (matrix: Float64Array) => submatrix(matrix, 9, order);
    const [{ r }] = mantel([moved(flat(golden.distance))], moved(target), 9, [moved(script)], {
      permutations: 0,
      random: random(),
    });
    expect(r).toBeCloseTo(run(target, [script])[0].r, 12);
  });
});

describe('what is known of languages', () => {
  const header = tinyHeader(
    { en: { family: 'IE' }, de: { family: 'IE' }, ru: { family: 'IE', script: 'Cyrl' }, th: { script: 'Thai' } },
    2,
  );
  it('tree: 1/2 inside a family, 1 between; with lineages the way over the common ancestor', () => {
    close(treeDistances(header).slice(0, 4), [0, 0.5, 0.5, 1]);
    const lineages = [['IE', 'Germanic'], ['IE', 'Germanic'], ['IE', 'Slavic', 'East'], ['Tai']];
    close(treeDistances(header, lineages).slice(0, 4), [0, 2 / 6, 5 / 7, 1]);
  });
  it('script and vocabulary', () => {
    close(scriptDistances(header).slice(0, 4), [0, 0, 1, 1]);
    const sets = vocabularySets(header);
    const block = (language: number, token: number[], counted = token.map(() => 1)) =>
      sets.add({
        document: 0,
        language,
        position: Int32Array.from(token, (_, i) => i),
        token: Int32Array.from(token),
        counted: Uint8Array.from(counted),
        expert: new Int32Array(token.length),
        share: new Float32Array(token.length),
      });
    block(0, [9, 1, 2, 3], [0, 1, 1, 1]);
    block(1, [2, 3, 3]);
    block(1, [4]);
    block(2, [5]);
    const distance = vocabularyDistances(sets.finish());
    close(distance.slice(0, 3), [0, 1 - 2 / 4, 1]);
    expect(distance[3]).toBeNaN();
  });
  it('another map of families must know every language', () => {
    const map = new Map([
      ['en', 'X'],
      ['de', 'X'],
      ['ru', 'Y'],
      ['th', 'Y'],
    ]);
    expect(familyLabels(header, map)).toEqual(['X', 'X', 'Y', 'Y']);
    expect(familyLabels(header)).toEqual(['IE', 'IE', 'IE', 'th']);
    map.delete('th');
    expect(() => familyLabels(header, map)).toThrow('Language th of the trace is in no family of the map');
  });
});

describe('families', () => {
  // languages 0,1 and 2,3 routed alike pairwise: distance 0 inside, 1 between
  const q = [[1, 0], [1, 0], [0, 1], [0, 1], null];
  const names = { a1: { family: 'A' }, a2: { family: 'A' }, b1: { family: 'B' }, b2: { family: 'B' }, c: {} };
  const header = tinyHeader(names, 2);
  const options = { random: seedrandom('families'), permutations: 99 };
  it('within, between, silhouette, tree; without estimates no interval', () => {
    const [row] = familyDistance(tinyRows([q]), header, familyLabels(header), options).objects();
    expect(row).toMatchObject({ layer: 0, languages: 4, families: 2, within: 0, between: 1, silhouette: 1 });
    expect(row).toMatchObject({ low: null, high: null });
    const { cophenetic: fit, p, nullSilhouette } = row as Record<string, number>;
    expect(fit).toBeCloseTo(1, 12);
    // a third of the deals keep the pairs (silhouette 1), the others mix both (−1/2): mean 0
    expect(p).toBeGreaterThan(0.2);
    expect(Math.abs(nullSilhouette)).toBeLessThan(0.25);
  });
  it('families of one language have no inside', () => {
    const rows = tinyRows([q.slice(0, 2).concat(q.slice(2, 4))]);
    const [within, between, silhouette] = Array.from(familyStatistic(['A', 'B', 'C', 'D']).of(rows));
    expect([within, between, silhouette]).toEqual([Number.NaN, expect.closeTo(2 / 3, 12), Number.NaN]);
  });
  it('agreement: the map that routing follows wins, and splitting languages that are routed alike costs', () => {
    const rows = tinyRows([q]);
    const joined = ['A', 'A', 'B', 'B', 'C'];
    const split = ['A', 'A', 'B', 'D', 'C'];
    const wrong = ['A', 'B', 'A', 'B', 'C'];
    close(Array.from(agreementStatistic(joined, split).of(rows)), [1, 1 / 2, 1 / 2]);
    close(Array.from(agreementStatistic(joined, wrong).of(rows)), [1, -1 / 2, 3 / 2]);
    expect(agreement(rows, header, joined, split).objects()).toEqual([
      { layer: 0, first: 1, second: 0.5, difference: 0.5, low: null, high: null },
    ]);
  });
  it('resampled over items, simulated families are told apart from dealt-out ones', () => {
    const { counts, header: simulated } = simulate({
      languages: 6,
      items: 40,
      experts: 8,
      k: 2,
      tokens: 20,
      strengths: [0, 1],
      concentration: 20,
      seed: 'families',
    });
    // true families: languages whose rows were made equal by copying documents of l00 to l03 and so on
    const copied = { ...counts, count: counts.count.map(cells => cells.slice()) };
    for (let d = 0; d < counts.language.length; d++) {
      if (counts.language[d] < 3) continue;
      for (const cells of copied.count) cells.copyWithin(d * 8, (d - 3) * 8, (d - 2) * 8);
    }
    const apart = simulated.languages.map((_, l) => `family ${Math.floor(l / 2)}`);
    const estimates = resample(copied, simulated, [agreementStatistic(familyLabels(simulated), apart)], {
      view: 'selection',
      draws: 100,
      seed: 'agreement',
    }).get('agreement')!;
    const late = estimates[5];
    expect(late.low).toBeGreaterThan(0.3);
    expect(estimates[3].plugIn).toBeCloseTo(1, 6);
  });
  it('Mantel by layer: tree, script, and the tree given the script', () => {
    const six = tinyHeader(
      {
        a: { family: 'A' },
        b: { family: 'A', script: 'Cyrl' },
        c: { family: 'A' },
        d: { family: 'D', script: 'Cyrl' },
        e: { family: 'D' },
        f: { family: 'D', script: 'Cyrl' },
      },
      2,
      1,
      2,
    );
    const byFamily = [0.9, 0.88, 0.9, 0.1, 0.12, 0.13].map(p => [p, 1 - p]);
    const byScript = [0.9, 0.1, 0.9, 0.1, 0.9, 0.1].map(p => [p, 1 - p]);
    const known = { tree: treeDistances(six), script: scriptDistances(six) };
    const rows = mantelByLayer(tinyRows([byFamily, byScript]), six, known, { random: seedrandom('six') }).objects() as {
      layer: number;
      against: string;
      given: string;
      r: number;
      p: number;
      permutations: number;
    }[];
    const get = (layer: number, against: string, given = '') =>
      rows.find(row => row.layer === layer && row.against === against && row.given === given)!;
    expect(rows).toHaveLength(6);
    expect(get(0, 'tree').r).toBeGreaterThan(0.95);
    // 72 = 3! · 3! · 2 of 720 relabellings keep the families
    expect(get(0, 'tree').p).toBeCloseTo(72 / 720, 12);
    expect(get(1, 'script').r).toBeCloseTo(1, 12);
    expect(get(1, 'script').permutations).toBe(720);
    expect(get(0, 'tree', 'script').r).toBeGreaterThan(0.95);
    expect(get(1, 'tree', 'script').r).toBeNull();
  });
});

describe('significance', () => {
  it('t tails and critical values: scipy', () => {
    for (const [t, freedom, p] of golden.tails) expect(twoSided(t, freedom) / p).toBeCloseTo(1, 9);
    for (const [tail, freedom, t] of golden.critical) expect(criticalT(tail, freedom) / t).toBeCloseTo(1, 9);
    expect(twoSided(Number.POSITIVE_INFINITY, 3)).toBe(0);
    expect(twoSided(Number.NaN, 3)).toBeNaN();
  });
  it('tests of jackknife estimates: what rounding leaves is 0, no standard error is no test', () => {
    const of = (estimate: number, se: number | null, reason: string | null = null) => {
      const none = { low: null, high: null, nullMean: null, excess: null, p: null };
      return { plugIn: estimate, estimate, se, reason, ...none };
    };
    const list = [of(1e-15, 1e-17), of(2, 0), of(2.045, 1), of(1, null)];
    const { p, freedom } = jackknifeTests(list);
    expect([p[0], p[1], freedom]).toEqual([1, 0, 29]);
    expect(p[2]).toBeCloseTo(0.05, 4);
    expect(p[3]).toBeNaN();
    expect(jackknifeTests([of(2, 0.1, 'few texts')]).p[0]).toBeNaN();
    expect(jackknifeTests([of(2.571, 1, 'few texts')], 6).p[0]).toBeCloseTo(0.05, 4);
  });
  it('Benjamini–Hochberg: .01 .02 .03 .5 at 5 % finds three, at level .05 · 3 / 4', () => {
    const { adjusted, found, level } = discoveries([0.02, 0.5, 0.01, Number.NaN, 0.03]);
    close(adjusted.slice(0, 3), [0.04, 0.5, 0.04]);
    expect(adjusted[3]).toBeNaN();
    expect([...found]).toEqual([1, 0, 1, 0, 1]);
    expect(level).toBeCloseTo(0.0375, 12);
    expect(discoveries([]).level).toBe(0);
  });
  it('statsmodels', () => {
    const { adjusted, found } = discoveries(golden.p);
    close(adjusted, golden.adjusted);
    expect([...found].map(Boolean)).toEqual(golden.found);
  });
});
