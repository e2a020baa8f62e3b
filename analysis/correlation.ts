// Does a language that routes unlike the pivot also score unlike it? Per layer the correlation over languages of a score with a
// divergence: Pearson, Spearman (ranks), and both with covariates such as log training bytes or fertility regressed out of
// both sides. Languages are the sample, so they are what is drawn. Interval of Pearson: basic bootstrap on Fisher's scale
// z = atanh r; of Spearman: percentiles, because resampled ranks are often in perfect order, where z has no end.
// Null: scores dealt out to languages at random; over layers the largest |r| counts (family-wise).
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { basicInterval, quantile } from './bootstrap.ts';
import { basisOf, dot, rest, restLength } from './regress.ts';
import { shuffle } from './shuffle.ts';

/** Correlations need this many languages, and one more per covariate. */
export const FEWEST_LANGUAGES = 4;

export type Method = 'pearson' | 'spearman';

/** Correlation of x and y after an intercept and the covariates are regressed out of both; NaN where nothing is left. */
export function correlationOf(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  method: Method = 'pearson',
  covariates: readonly ArrayLike<number>[] = [],
): number {
  const left = explained(x, y, method, covariates);
  return left ? cosine(left.x, left.y, left.basis) : Number.NaN;
}

/** What the covariates leave of both sides; null where that is nothing. */
function explained(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  method: Method,
  covariates: readonly ArrayLike<number>[],
) {
  const scale = (values: ArrayLike<number>) => (method === 'spearman' ? ranks(values) : values);
  const basis = basisOf(covariates.map(scale), x.length);
  const [a, b] = [rest(scale(x), basis), rest(scale(y), basis)];
  return a && b ? { x: a, y: b, basis } : null;
}

/** Correlation of a residual with what the basis leaves of y. */
function cosine(x: Float64Array, y: Float64Array, basis: readonly Float64Array[]): number {
  return Math.max(-1, Math.min(1, dot(x, y) / (Math.sqrt(dot(x, x)) * restLength(y, basis))));
}

/** Ranks from 1, ties sharing their mean rank. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a] - values[b]);
  const result = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let i = start; i < end; i++) result[order[i]] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}

export interface CorrelationOptions {
  /** Numbers in [0, 1). */
  random: () => number;
  /** Code → value of each covariate. Languages without one are left out. */
  covariates?: readonly ReadonlyMap<string, number>[];
  /** Column of the divergence table. Default distance. */
  column?: string;
  /** Bootstrap draws and permutations. Default 2,000. */
  draws?: number;
}

/**
 * One row per layer and method (`pearson`, `spearman`), from a divergence table (layer, group, …) and a score per language code:
 * `languages`, `r`, `low`, `high`, `p` (two-sided), `familyWise` p over the layers, and `covariates`, how many were regressed
 * out. Null with fewer than 4 languages (5 with a covariate …) or without variation. The pivot, at distance 0 of itself, is left
 * out if the table has no row for it.
 */
export function correlation(
  divergence: ColumnTable,
  header: TraceHeader,
  scores: ReadonlyMap<string, number>,
  options: CorrelationOptions,
): ColumnTable {
  const { random, covariates = [], draws = 2000 } = options;
  const layers = header.moeLayers.map(layer => ({ layer, ...sample(divergence, header, scores, layer, options) }));
  const methods: Method[] = ['pearson', 'spearman'];
  const lines = methods.flatMap(method => {
    const observed = layers.map(({ x, y, z }) =>
      x.length < FEWEST_LANGUAGES + covariates.length ? Number.NaN : correlationOf(x, y, method, z),
    );
    const reached = reachedBy(observed, layers, method, draws, random);
    return layers.map(({ layer, x }, i) => {
      const shared = { layer, method, languages: x.length, covariates: covariates.length };
      if (Number.isNaN(observed[i])) return { ...shared, r: null, low: null, high: null, p: null, familyWise: null };
      const p = (1 + reached.alone[i]) / (1 + draws);
      const familyWise = (1 + reached.any[i]) / (1 + draws);
      return { ...shared, r: observed[i], ...interval(observed[i], layers[i], method, draws, random), p, familyWise };
    });
  });
  const names = ['layer', 'method', 'languages', 'covariates', 'r', 'low', 'high', 'p', 'familyWise'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

/** The dots of one layer: group, family, x (divergence), y (score). */
export function correlationPoints(
  divergence: ColumnTable,
  header: TraceHeader,
  scores: ReadonlyMap<string, number>,
  layer: number,
  options: Pick<CorrelationOptions, 'covariates' | 'column'> = {},
): ColumnTable {
  const { codes, x, y } = sample(divergence, header, scores, layer, options);
  const familyOf = new Map(header.languages.map(({ code, family }) => [code, family]));
  return table({ group: codes, family: codes.map(code => familyOf.get(code) ?? ''), x, y });
}

interface Sample {
  codes: string[];
  x: number[];
  y: number[];
  /** Covariates, in the order of the options. */
  z: number[][];
}

function sample(
  divergence: ColumnTable,
  header: TraceHeader,
  scores: ReadonlyMap<string, number>,
  layer: number,
  { covariates = [], column = 'distance' }: Pick<CorrelationOptions, 'covariates' | 'column'>,
): Sample {
  const value = new Map<string, number>();
  for (const row of divergence.objects() as Record<string, unknown>[]) {
    const x = row[column];
    if (row.layer === layer && typeof x === 'number' && Number.isFinite(x)) value.set(String(row.group), x);
  }
  const complete = (code: string) =>
    value.has(code) && [scores, ...covariates].every(map => Number.isFinite(map.get(code)));
  const codes = header.languages.map(({ code }) => code).filter(complete);
  const of = (map: ReadonlyMap<string, number>) => codes.map(code => map.get(code)!);
  return { codes, x: of(value), y: of(scores), z: covariates.map(of) };
}

/**
 * Per layer, how many permutations reach |r| there, and how many reach it in any layer. What the covariates leave of the scores
 * is dealt out (Freedman and Lane 1983), in the same order in every layer.
 */
function reachedBy(observed: number[], layers: Sample[], method: Method, draws: number, random: () => number) {
  const alone = observed.map(() => 0);
  const any = observed.map(() => 0);
  const left = layers.map(({ x, y, z }, i) => (Number.isNaN(observed[i]) ? null : explained(x, y, method, z)));
  const codes = [...new Set(layers.flatMap(layer => layer.codes))];
  const order = Int32Array.from(codes, (_, i) => i);
  for (let draw = 0; draw < draws; draw++) {
    shuffle(order, random);
    const place = new Map(codes.map((code, i) => [code, order[i]]));
    const values = left.map((parts, i) => {
      if (!parts) return 0;
      const own = layers[i].codes;
      const from = Int32Array.from(own, (_, j) => j).sort((a, b) => place.get(own[a])! - place.get(own[b])!);
      return Math.abs(
        cosine(
          parts.x,
          Float64Array.from(from, j => parts.y[j]),
          parts.basis,
        ),
      );
    });
    const largest = Math.max(...values);
    for (const [i, r] of observed.entries()) {
      if (values[i] >= Math.abs(r) - 1e-12) alone[i]++;
      if (largest >= Math.abs(r) - 1e-12) any[i]++;
    }
  }
  return { alone, any };
}

/** 95 % interval over resampled languages; draws with too few different languages to correlate are passed over. */
function interval(
  r: number,
  { x, y, z }: Sample,
  method: Method,
  draws: number,
  random: () => number,
): { low: number; high: number } {
  const values = Float64Array.from({ length: draws }, () => {
    const chosen = x.map(() => Math.floor(random() * x.length));
    const take = (list: number[]) => chosen.map(i => list[i]);
    if (new Set(chosen).size < 3 + z.length) return Number.NaN;
    return correlationOf(take(x), take(y), method, z.map(take));
  });
  if (method === 'spearman') {
    const ascending = values.filter(Number.isFinite).sort();
    return { low: quantile(ascending, 0.025), high: quantile(ascending, 0.975) };
  }
  const { low, high } = basicInterval(fisher(r), values.map(fisher));
  return { low: Math.tanh(low), high: Math.tanh(high) };
}

/** atanh, kept finite at ±1. */
const fisher = (r: number): number => Math.atanh(Math.max(-1 + 1e-12, Math.min(1 - 1e-12, r)));
