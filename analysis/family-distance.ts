// M6 by family: does routing put languages of one family together? Per layer the mean distance inside families and between
// them, the silhouette, the average-linkage tree, and Mantel correlations with what else is known of the languages.
// A family with one language has no inside; its language gets no silhouette, but for `agreement` below, where it gets 0.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { distances, type KnownDistances, presentLanguages, submatrix } from './distance.ts';
import type { Estimate, LanguageRows, Statistic } from './document-counts.ts';
import { mantel } from './mantel.ts';
import { meanSilhouette } from './silhouette.ts';
import { averageLinkage, cophenetic } from './tree.ts';

const PARTS = ['within', 'between', 'silhouette'] as const;
type Part = (typeof PARTS)[number];

/** `within`, `between` and `silhouette` of each layer, in that order: [L · 3]. `family` names the family of each language. */
export function familyStatistic(family: readonly string[], name = 'families'): Statistic {
  return {
    name,
    range: [-1, 1],
    of: rows => perLayer(rows, (matrix, keep) => PARTS.map(part => contrast(matrix, labels(family, keep))[part])),
  };
}

/**
 * Which of two family maps routing agrees with, per layer [L · 3]: silhouette under the first map, under the second, first
 * minus second. A language alone in its family counts 0, so that a map earns by a family only if its languages do lie together.
 */
export function agreementStatistic(first: readonly string[], second: readonly string[]): Statistic {
  return {
    name: 'agreement',
    range: [-2, 2],
    of: rows =>
      perLayer(rows, (matrix, keep) => {
        const [a, b] = [first, second].map(family => meanSilhouette(matrix, labels(family, keep), 'zero'));
        return [a, b, a - b];
      }),
  };
}

/** Rows `layer`, `first`, `second`, `difference` with its `low` and `high` (null without estimates of agreementStatistic). */
export function agreement(
  rows: LanguageRows,
  header: TraceHeader,
  first: readonly string[],
  second: readonly string[],
  estimates?: Estimate[],
): ColumnTable {
  const plugIn = agreementStatistic(first, second).of(rows);
  const value = (at: number) => number(estimates?.[at].estimate ?? plugIn[at]);
  const lines = header.moeLayers.map((layer, l) => ({
    layer,
    first: value(3 * l),
    second: value(3 * l + 1),
    difference: value(3 * l + 2),
    low: estimates?.[3 * l + 2].low ?? null,
    high: estimates?.[3 * l + 2].high ?? null,
  }));
  const names = ['layer', 'first', 'second', 'difference', 'low', 'high'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

export interface FamilyOptions {
  /** Of familyStatistic, from resampling documents. */
  estimates?: Estimate[];
  /** Numbers in [0, 1), for the relabelled null. */
  random: () => number;
  /** Relabellings of the null. Default 999. */
  permutations?: number;
}

/**
 * One row per layer: languages and families present, `within`, `between`, `silhouette` with `low` and `high`, its mean
 * `nullSilhouette` and `p` when families are dealt out to languages at random, and `cophenetic`, the correlation of the
 * average-linkage tree with the distances it was made from (1: the distances are a tree). Null where undefined.
 */
export function familyDistance(
  rows: LanguageRows,
  header: TraceHeader,
  family: readonly string[],
  { estimates, random, permutations = 999 }: FamilyOptions,
): ColumnTable {
  const { languages: n } = rows;
  const all = distances(rows);
  const keep = presentLanguages(rows);
  const lines = header.moeLayers.map((layer, l) => {
    const matrix = submatrix(all, n, keep, l);
    const here = contrast(matrix, labels(family, keep));
    const value = (part: Part) => number(estimates?.[3 * l + PARTS.indexOf(part)].estimate ?? here[part]);
    const ofSilhouette = estimates?.[3 * l + 2];
    return {
      layer,
      languages: keep.length,
      families: new Set(labels(family, keep)).size,
      within: value('within'),
      between: value('between'),
      silhouette: value('silhouette'),
      low: ofSilhouette?.low ?? null,
      high: ofSilhouette?.high ?? null,
      ...dealtOut(matrix, labels(family, keep), here.silhouette, permutations, random),
      cophenetic: number(treeFit(matrix, keep.length)),
    };
  });
  const names = ['layer', 'languages', 'families', 'within', 'between', 'silhouette', 'low', 'high'] as const;
  const more = ['nullSilhouette', 'p', 'cophenetic'] as const;
  return table(Object.fromEntries([...names, ...more].map(name => [name, lines.map(line => line[name])])));
}

export interface MantelRows {
  random: () => number;
  /** Relabellings; default 9,999. */
  permutations?: number;
}

/**
 * One row per layer and question: `against` tree, script or vocabulary, and the tree `given` the others ('' for none), with r,
 * p (one-sided), `familyWise` p over the layers, `permutations` and `languages`. Languages without a vocabulary are left out
 * of all questions, so that these compare.
 */
export function mantelByLayer(
  rows: LanguageRows,
  header: TraceHeader,
  known: KnownDistances,
  options: MantelRows,
): ColumnTable {
  const { languages: n } = rows;
  const all = distances(rows);
  const { tree, script, vocabulary } = known;
  const keep = presentLanguages(rows).filter((l, _, list) => {
    const mate = list.find(other => other !== l);
    return (
      !vocabulary || mate === undefined || list.some(other => other !== l && !Number.isNaN(vocabulary[l * n + other]))
    );
  });
  const tested = header.moeLayers.map((_, l) => submatrix(all, n, keep, l));
  const given = { script, vocabulary };
  const questions = [
    ...Object.entries({ tree, script, vocabulary }).map(([against, target]) => ({ against, target, controls: {} })),
    ...(script || vocabulary ? [{ against: 'tree', target: tree, controls: given }] : []),
  ];
  const lines = questions.flatMap(({ against, target, controls }) => {
    if (!target) return [];
    const used = Object.entries(controls).filter(
      (entry): entry is [string, ArrayLike<number>] => entry[1] !== undefined,
    );
    const matrices = used.map(([, control]) => submatrix(control, n, keep));
    const results = mantel(tested, submatrix(target, n, keep), keep.length, matrices, options);
    return results.map((result, l) => ({
      layer: header.moeLayers[l],
      against,
      given: used.map(([name]) => name).join(' '),
      r: number(result.r),
      p: number(result.p),
      familyWise: number(result.familyWise),
      permutations: result.permutations,
      languages: keep.length,
    }));
  });
  const names = ['layer', 'against', 'given', 'r', 'p', 'familyWise', 'permutations', 'languages'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

const number = (value: number): number | null => (Number.isNaN(value) ? null : value);
const labels = (family: readonly string[], keep: readonly number[]): string[] => keep.map(l => family[l]);

function perLayer(rows: LanguageRows, of: (matrix: Float64Array, keep: number[]) => number[]): number[] {
  const all = distances(rows);
  const keep = presentLanguages(rows);
  return Array.from({ length: rows.layers }, (_, l) => of(submatrix(all, rows.languages, keep, l), keep)).flat();
}

/** Mean over pairs of the same family, of different ones, and the mean silhouette; NaN where there is none. */
function contrast(matrix: Float64Array, family: readonly string[]): Record<Part, number> {
  const sum = [0, 0];
  const count = [0, 0];
  for (let a = 0; a < family.length; a++) {
    for (let b = a + 1; b < family.length; b++) {
      const kind = family[a] === family[b] ? 0 : 1;
      sum[kind] += matrix[a * family.length + b];
      count[kind]++;
    }
  }
  return { within: sum[0] / count[0], between: sum[1] / count[1], silhouette: meanSilhouette(matrix, family) };
}

function dealtOut(
  matrix: Float64Array,
  family: readonly string[],
  observed: number,
  permutations: number,
  random: () => number,
): { nullSilhouette: number | null; p: number | null } {
  if (Number.isNaN(observed)) return { nullSilhouette: null, p: null };
  const dealt = [...family];
  let sum = 0;
  let reached = 0;
  for (let draw = 0; draw < permutations; draw++) {
    for (let i = dealt.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [dealt[i], dealt[j]] = [dealt[j], dealt[i]];
    }
    const value = meanSilhouette(matrix, dealt);
    sum += value;
    if (value >= observed - 1e-12) reached++;
  }
  return { nullSilhouette: sum / permutations, p: (1 + reached) / (1 + permutations) };
}

/** Pearson correlation between distances and cophenetic distances, over pairs. */
function treeFit(matrix: Float64Array, n: number): number {
  if (n < 3) return Number.NaN;
  const heights = cophenetic(averageLinkage(matrix, n), n);
  return mantel([matrix], heights, n, [], { permutations: 0, random: () => 0 })[0].r;
}
