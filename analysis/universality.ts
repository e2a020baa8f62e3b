// M9, universality: how evenly the languages share an expert. With a_λ(e) the share of λ's tokens that choose e:
//   published   O = 1 / (1 + σ/ā), σ the population deviation over n languages; Ovlp = O · (1 + α ā), α = 10   (RISE, 2604.03592)
//               O is at least 1 / (1 + √(n−1)); the load term lets a skewed expert beat an even one; a dead expert gets O = 1 there
//   ours        U = H(a_·(e) / Σ_λ a_λ(e)) / log n: 0 one language alone … 1 all alike; nothing for a dead expert
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { presentLanguages } from './distance.ts';
import type { Estimate, LanguageRows, Statistic } from './document-counts.ts';
import { entropyOf } from './entropy.ts';
import { familyLabels } from './linguistic.ts';
import { ALPHA } from './specificity.ts';

/** O and Ovlp of one layer, by expert, from token shares a[λ][e], exactly as published: a dead expert scores O = 1. */
export function publishedOverlap(
  a: readonly ArrayLike<number>[],
  alpha = ALPHA,
): { overlap: number[]; score: number[] } {
  const experts = Array.from(a[0], (_, e) => {
    const mean = a.reduce((sum, row) => sum + row[e], 0) / a.length;
    const deviation = Math.sqrt(a.reduce((sum, row) => sum + (row[e] - mean) ** 2, 0) / a.length);
    const overlap = mean > 0 ? 1 / (1 + deviation / mean) : 1;
    return { overlap, score: overlap * (1 + alpha * mean) };
  });
  return { overlap: experts.map(({ overlap }) => overlap), score: experts.map(({ score }) => score) };
}

/** U of one expert from its use by each language; NaN for a dead expert or with fewer than two languages. */
export function universalityOf(use: readonly number[]): number {
  const sum = use.reduce((total, value) => total + value, 0);
  if (!(sum > 0) || use.length < 2) return Number.NaN;
  return entropyOf(use.map(value => value / sum)) / Math.log(use.length);
}

/** U of every expert, [L · E]. */
export const universalityStatistic: Statistic = {
  name: 'universality',
  range: [0, 1],
  of: rows => {
    const keep = presentLanguages(rows);
    const { layers, languages: n, experts, q } = rows;
    return Float64Array.from({ length: layers * experts }, (_, i) => {
      const [layer, e] = [Math.floor(i / experts), i % experts];
      return universalityOf(keep.map(l => q[(layer * n + l) * experts + e]));
    });
  },
};

export interface UniversalityOptions {
  /** Counted tokens of each header language. */
  tokens: ArrayLike<number>;
  /** Of universalityStatistic. */
  estimates?: Estimate[];
  alpha?: number;
}

/**
 * One row per layer and expert, from rows in the selection view: `universality` with `low` and `high`, `load` (mean share of
 * tokens that choose it, uniform k/E), `overlap` and `score` (O and Ovlp), and the `family` that uses it most compared with the
 * others, by `lift` in log2. All but load are null for a dead expert; family and lift also where one family is present.
 */
export function universality(
  rows: LanguageRows,
  header: TraceHeader,
  { tokens, estimates, alpha }: UniversalityOptions,
): ColumnTable {
  const { languages: n, experts: E, q } = rows;
  const keep = presentLanguages(rows);
  const plugIn = universalityStatistic.of(rows);
  const family = familyLabels(header);
  const lines = header.moeLayers.flatMap((layer, l) => {
    if (keep.length === 0) return [];
    const share = (language: number, e: number) => header.expertsPerToken * q[(l * n + language) * E + e];
    const a = keep.map(language => Array.from({ length: E }, (_, e) => share(language, e)));
    const { overlap, score } = publishedOverlap(a, alpha);
    return Array.from({ length: E }, (_, expert) => {
      const load = a.reduce((sum, row) => sum + row[expert], 0) / keep.length;
      const alive = load > 0;
      const estimate = estimates?.[l * E + expert];
      const use = keep.map(language => ({
        family: family[language],
        a: share(language, expert),
        tokens: tokens[language],
      }));
      const best = alive ? favourite(use) : null;
      return {
        layer,
        expert,
        universality: number(estimate?.estimate ?? plugIn[l * E + expert]),
        low: estimate?.low ?? null,
        high: estimate?.high ?? null,
        load,
        overlap: alive ? overlap[expert] : null,
        score: alive ? score[expert] : null,
        family: best?.name ?? null,
        lift: best?.lift ?? null,
      };
    });
  });
  const names = [
    'layer',
    'expert',
    'universality',
    'low',
    'high',
    'load',
    'overlap',
    'score',
    'family',
    'lift',
  ] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

interface Use {
  family: string;
  a: number;
  tokens: number;
}

/** The family with the largest log2 lift over the languages outside it, half a token added to both; the first of equals. */
function favourite(use: Use[]): { name: string; lift: number } | null {
  const mean = (list: Use[]) => list.reduce((sum, { a }) => sum + a, 0) / list.length;
  let best: { name: string; lift: number } | null = null;
  for (const name of new Set(use.map(one => one.family))) {
    const inside = use.filter(one => one.family === name);
    const outside = use.filter(one => one.family !== name);
    if (outside.length === 0) return null;
    const half = 0.5 / inside.reduce((sum, one) => sum + one.tokens, 0);
    const lift = Math.log2((mean(inside) + half) / (mean(outside) + half));
    if (best === null || lift > best.lift) best = { name, lift };
  }
  return best;
}

const number = (value: number): number | null => (Number.isNaN(value) ? null : value);
