// M2, usage entropy: H = −Σ q log q in nats; normalised h = H / log E; effective experts exp(H), 1…E; and inverse
// Simpson 1 / Σ q², less biased when tokens are few. In the selection view one repeated set of k experts already has
// H = log k, hence also h* = (H − log k) / (log E − log k). Plug-in H is biased down: Miller–Madow adds (K₊ − 1) / 2n.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { Estimate, LanguageRows, Statistic } from './document-counts.ts';
import { entropyAt, rowEntropies } from './row-entropies.ts';
import { shareRows } from './usage.ts';

/** H(q) in nats, 0·log 0 = 0. */
export function entropyOf(q: ArrayLike<number>): number {
  return entropyAt(q, 0, q.length);
}

/** 1 / Σ q². */
export function inverseSimpson(q: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < q.length; i++) sum += q[i] * q[i];
  return 1 / sum;
}

/** Entropy of counts with the Miller–Madow correction; right only for independent draws. */
export function millerMadow(counts: ArrayLike<number>): number {
  const list = Array.from(counts);
  const n = list.reduce((sum, count) => sum + count, 0);
  const occupied = list.filter(count => count > 0).length;
  return entropyOf(list.map(count => count / n)) + (occupied - 1) / (2 * n);
}

/** Normalised entropies of all languages, [L · n], as a statistic. */
export const entropyStatistic: Statistic = {
  name: 'entropy',
  of: (rows: LanguageRows) => rowEntropies(rows).map(h => h / Math.log(rows.experts)),
  range: [0, 1],
  perLanguage: true,
};

/**
 * One row per layer and group: entropy, normalised, effective, simpson, aboveMinimum (h*), and the interval low, high of
 * `normalised` from `estimates` of entropyStatistic (null for groups that are not languages). Null for empty groups.
 */
export function entropy(usage: ColumnTable, header: TraceHeader, estimates?: Estimate[]): ColumnTable {
  const logE = Math.log(header.numExperts);
  const logK = Math.log(header.expertsPerToken);
  const languageOf = new Map(header.languages.map(({ code }, l) => [code, l]));
  const ratio = (value: number | null, range: number) => (value !== null && range > 0 ? value / range : null);
  const rows = header.moeLayers.flatMap((layer, l) =>
    [...shareRows(usage, layer)].map(([group, q]) => {
      const h = q && entropyOf(q);
      const language = languageOf.get(group);
      const known = language === undefined ? undefined : estimates?.[l * header.languages.length + language];
      return {
        layer,
        group,
        entropy: h,
        normalised: ratio(h, logE),
        effective: h === null ? null : Math.exp(h),
        simpson: q && inverseSimpson(q),
        aboveMinimum: h === null ? null : ratio(h - logK, logE - logK),
        low: known?.low ?? null,
        high: known?.high ?? null,
      };
    }),
  );
  return table(Object.fromEntries(NAMES.map(name => [name, rows.map(row => row[name])])));
}
const NAMES = [
  'layer',
  'group',
  'entropy',
  'normalised',
  'effective',
  'simpson',
  'aboveMinimum',
  'low',
  'high',
] as const;
