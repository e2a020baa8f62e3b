// Families out of routing: how many, and which. Distance of two languages: mean over chosen layers of the Jensen–Shannon distance
// of their rows (distance.ts). For each number of groups G: mean silhouette (a language alone counts 0), and stability, the mean
// adjusted Rand index between the grouping and those of bootstrapped texts. The answer is the G of the largest silhouette among
// those with a stability of at least 0.6; where none has it, the largest silhouette, and that is said.
import { bootstrapChoice } from '../bootstrap.ts';
import { distances, presentLanguages, submatrix } from '../distance.ts';
import type { DocumentCounts, LanguageRows } from '../document-counts.ts';
import { emptyRows, fillRows, languageRows, type Shape, sourceOf } from '../rows.ts';
import { meanSilhouette } from '../silhouette.ts';
import { averageLinkage, cutTree } from '../tree.ts';
import { unitsOf } from '../units.ts';
import { adjustedRand } from './adjusted-rand.ts';
import { balancedGroups } from './balanced.ts';

export type Method = 'average' | 'balanced';

export interface GroupOptions {
  method: Method;
  /** Indices into the MoE layers. */
  layers: readonly number[];
  /** Numbers of groups to look at, each 2 … languages − 1. */
  counts: readonly number[];
  draws: number;
  /** In [0, 1). */
  random: () => number;
}

export interface Grouping {
  groups: number;
  /** [m] group of each present language, in the order of `languages`. */
  group: Int32Array;
  silhouette: number;
  /** Mean adjusted Rand index with bootstrapped texts; null where no text can be drawn. */
  stability: number | null;
}

export interface Regrouping {
  /** Language ids that have routing. */
  languages: number[];
  /** [m · m] */
  distance: Float64Array;
  groupings: Grouping[];
  chosen: Grouping;
  /** Whether the chosen one is stable. */
  stable: boolean;
}

const STABLE = 0.6;

/** @param shape the trace's header */
export function regroupLanguages(counts: DocumentCounts, shape: Shape, options: GroupOptions): Regrouping {
  const { method, layers, random, draws } = options;
  const rows = languageRows(counts, 'selection', 'documents', shape);
  const languages = presentLanguages(rows);
  const distance = meanDistance(rows, layers, languages);
  const drawn = bootstrapped(counts, shape, layers, draws, random);
  const groupings = options.counts.map((groups): Grouping => {
    const group = groupsOf(method, distance, languages.length, groups);
    const agreed = drawn.flatMap(draw => againstDraw(method, groups, group, languages, draw));
    const stability = agreed.length > 0 ? agreed.reduce((sum, rand) => sum + rand, 0) / agreed.length : null;
    return { groups, group, silhouette: meanSilhouette(distance, [...group], 'zero'), stability };
  });
  const stable = groupings.filter(({ stability }) => stability !== null && stability >= STABLE);
  const best = (among: Grouping[]): Grouping => among.reduce((a, b) => (b.silhouette > a.silhouette ? b : a));
  const chosen = best(stable.length > 0 ? stable : groupings);
  return { languages, distance, groupings, chosen, stable: stable.length > 0 };
}

function groupsOf(method: Method, distance: Float64Array, n: number, groups: number): Int32Array {
  return method === 'balanced' ? balancedGroups(distance, n, groups) : cutTree(averageLinkage(distance, n), n, groups);
}

/** [m · m] mean over layers, of the languages in the list. */
export function meanDistance(
  rows: LanguageRows,
  layers: readonly number[],
  languages: readonly number[],
): Float64Array {
  const all = distances(rows);
  const sum = new Float64Array(languages.length ** 2);
  for (const layer of layers)
    for (const [cell, value] of submatrix(all, rows.languages, languages, layer).entries()) sum[cell] += value;
  return sum.map(value => value / layers.length);
}

interface Draw {
  languages: number[];
  distance: Float64Array;
}

/** Distances between the languages that have text in each draw. */
function bootstrapped(
  counts: DocumentCounts,
  shape: Shape,
  layers: readonly number[],
  draws: number,
  random: () => number,
): Draw[] {
  const source = sourceOf(counts, 'selection', 'documents', shape);
  const units = unitsOf(counts, source.languages);
  return Array.from({ length: draws }, () => {
    const rows = emptyRows(source);
    fillRows(source, [bootstrapChoice(units, counts.language, source.languages, random)], [rows]);
    const languages = presentLanguages(rows);
    return { languages, distance: meanDistance(rows, layers, languages) };
  });
}

/** Nothing where the draw has too few languages. */
function againstDraw(method: Method, groups: number, group: Int32Array, languages: number[], draw: Draw): number[] {
  if (draw.languages.length <= groups) return [];
  const again = groupsOf(method, draw.distance, draw.languages.length, groups);
  return [
    adjustedRand(
      draw.languages.map(language => group[languages.indexOf(language)]),
      again,
    ),
  ];
}
