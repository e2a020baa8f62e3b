// M8, specificity: how much more a language uses an expert than the others do. With a_λ(e) = k · q_λ(e), the share of tokens
// that choose e:
//   published   S = a_λ(e) / ā(e), ā the mean over all n languages with λ; Spec = S · (1 + α a_λ(e)), α = 10   (RISE, 2604.03592)
//               0 … n, so values of runs with different n do not compare; a dead expert (ā = 0) gets 0 there, here nothing
//   ours        lift = log2 (a_λ(e) + c) / (mean_{λ' ≠ λ} a_λ'(e) + c), c half a token: symmetric about 0
// A language's experts are called specific at a false discovery rate over all cells, not one by one.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { discoveries } from './discovery.ts';
import { presentLanguages } from './distance.ts';
import type { Estimate, LanguageRows, Statistic } from './document-counts.ts';
import { criticalT, jackknifeTests } from './student.ts';

/** Weight of the load in the published scores. */
export const ALPHA = 10;

export interface PublishedSpecificity {
  /** S and Spec, by language and expert; NaN for dead experts. */
  ratio: number[][];
  score: number[][];
}

/** S and Spec of one layer from token shares a[λ][e]. */
export function publishedSpecificity(a: readonly ArrayLike<number>[], alpha = ALPHA): PublishedSpecificity {
  const mean = Array.from(a[0], (_, e) => a.reduce((sum, row) => sum + row[e], 0) / a.length);
  const ratio = a.map(row => mean.map((load, e) => (load > 0 ? row[e] / load : Number.NaN)));
  return { ratio, score: ratio.map((row, l) => row.map((s, e) => s * (1 + alpha * a[l][e]))) };
}

/** log2 lift of every cell, [L · n · E]; NaN for dead experts, absent languages, and where no other language is present. */
export function lifts(rows: LanguageRows, expertsPerToken: number, tokens: ArrayLike<number>): Float64Array {
  const { layers, languages: n, experts, q } = rows;
  const keep = presentLanguages(rows);
  const lift = new Float64Array(layers * n * experts).fill(Number.NaN);
  if (keep.length < 2) return lift;
  for (let layer = 0; layer < layers; layer++) {
    for (let e = 0; e < experts; e++) {
      let sum = 0;
      for (const l of keep) sum += expertsPerToken * q[(layer * n + l) * experts + e];
      if (sum === 0) continue;
      for (const l of keep) {
        const own = expertsPerToken * q[(layer * n + l) * experts + e];
        const half = 0.5 / tokens[l];
        const others = (sum - own) / (keep.length - 1);
        lift[(layer * n + l) * experts + e] = Math.log2((own + half) / (Math.max(others, 0) + half));
      }
    }
  }
  return lift;
}

/** The lift of every cell, with its interval from the jackknife: there are L · n · E of them. `tokens` per language. */
export function liftStatistic(expertsPerToken: number, tokens: ArrayLike<number>): Statistic {
  return { name: 'lift', of: rows => lifts(rows, expertsPerToken, tokens), interval: 'jackknife' };
}

export interface SpecificityOptions {
  /** Counted tokens of each header language. */
  tokens: ArrayLike<number>;
  /** Of liftStatistic; without them nothing is called specific. */
  estimates?: Estimate[];
  /** Jackknife blocks behind the standard errors; without it 30, and no call where texts are fewer. */
  blocks?: number;
  /** False discovery rate. Default 0.05. */
  rate?: number;
  /** Least share of the language's tokens that a specific expert serves. Default twice the uniform share, 2k/E. */
  least?: number;
  alpha?: number;
}

/**
 * One row per layer, present language and expert, from rows in the selection view: `specificity` (S), `score` (Spec), `lift`
 * with `low` and `high` at the level that the discoveries ask for, and `specific`: that interval lies above 0 and the expert
 * serves at least `least` of the language's tokens. Null for dead experts and, without estimates, for the last three.
 */
export function specificity(rows: LanguageRows, header: TraceHeader, options: SpecificityOptions): ColumnTable {
  const { languages: n, experts: E, q } = rows;
  const { numExperts, expertsPerToken: k } = header;
  const { tokens, estimates, alpha, least = (2 * k) / numExperts } = options;
  const keep = presentLanguages(rows);
  const plugIn = lifts(rows, k, tokens);
  const bounds = boundsOf(estimates, options);
  const lines = header.moeLayers.flatMap((layer, l) => {
    const a = keep.map(language => Array.from({ length: E }, (_, e) => k * q[(l * n + language) * E + e]));
    const { ratio, score } = keep.length > 0 ? publishedSpecificity(a, alpha) : { ratio: [], score: [] };
    return keep.flatMap((language, i) =>
      a[i].map((share, expert) => {
        const cell = (l * n + language) * E + expert;
        const bound = bounds?.(cell) ?? null;
        return {
          layer,
          group: header.languages[language].code,
          expert,
          specificity: number(ratio[i][expert]),
          score: number(score[i][expert]),
          lift: number(bound ? estimates![cell].estimate : plugIn[cell]),
          low: bound?.[0] ?? null,
          high: bound?.[1] ?? null,
          specific: bound && bound[0] > 0 && share >= least,
        };
      }),
    );
  });
  const names = ['layer', 'group', 'expert', 'specificity', 'score', 'lift', 'low', 'high', 'specific'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

/** Interval of a cell at the level of the discoveries (that of a single discovery where there is none). */
function boundsOf(estimates: Estimate[] | undefined, { blocks, rate = 0.05 }: SpecificityOptions) {
  if (!estimates) return null;
  const { p, freedom } = jackknifeTests(estimates, blocks);
  const tests = p.reduce((count, value) => count + (Number.isNaN(value) ? 0 : 1), 0);
  if (tests === 0) return null;
  const t = criticalT(Math.max(discoveries(p, rate).level, rate / tests), freedom);
  return (cell: number): [number, number] | null => {
    const { estimate, se } = estimates[cell];
    return se === null || Number.isNaN(p[cell]) ? null : [estimate - t * se, estimate + t * se];
  };
}

const number = (value: number): number | null => (Number.isNaN(value) ? null : value);
