// A2, the forced–free gap: loss with the language's expert given minus loss with free routing, of the same documents. Training
// that forces and inference that does not differ by this much; below 0, knowing the language helps.
//   gap of a language = Σ_d (given_d − free_d) / Σ_d bytes_d / ln 2 in bits per byte, or per predicted token in nats
// Documents are drawn in pairs by construction, parallel items jointly for all languages. Null: signs of the items flipped.
import { type ColumnTable, table } from 'arquero';
import { basicInterval } from './bootstrap.ts';
import { criticalT } from './student.ts';

/** Columns of the losses: one row per document. `free` and `given` are sums of nats over its predicted tokens. */
export interface DocumentGap {
  language: string;
  item: string;
  tokens: number;
  bytes: number;
  free: number;
  given: number;
}

export interface GapOptions {
  unit: 'bits per byte' | 'nats per token';
  /** Numbers in [0, 1). */
  random: () => number;
  /** Bootstrap draws and sign flips. Default 2,000. */
  draws?: number;
}

/** Below this many items the interval is that of the jackknife. */
const FEWEST_ITEMS = 30;

/**
 * One row per language in order of appearance, and one of group `all` (mean over languages): `documents`, `free`, `given`, `gap`,
 * `se`, `low`, `high` (95 %), `p` (two-sided) and `interval`, how it was made: bootstrap, jackknife with few items, or null where
 * a language has one item. Rows without a given loss are left out.
 */
export function forcedGap(losses: ColumnTable, { unit, random, draws = 2000 }: GapOptions): ColumnTable {
  const rows = (losses.objects() as DocumentGap[]).filter(row => Number.isFinite(row.given) && row.tokens > 0);
  const items = [...new Set(rows.map(row => row.item))];
  const languages = [...new Set(rows.map(row => row.language))];
  const sums = languages.map(language => sumsByItem(rows, language, items, unit));
  const groups = [...languages.map((group, l) => ({ group, of: [sums[l]] })), { group: 'all', of: sums }];
  const bootstrap = Array.from({ length: draws }, () => drawn(items.length, random));
  const flips = Array.from({ length: draws }, () => Int8Array.from(items, () => (random() < 0.5 ? -1 : 1)));
  const once = new Int32Array(items.length).fill(1);
  const lines = (rows.length === 0 ? [] : groups).map(({ group, of }) => {
    const gap = gapOf(of, once);
    const used = items.map((_, i) => i).filter(i => of.some(({ size }) => size[i] > 0));
    const shared = { group, documents: of.reduce((n, { documents }) => n + documents, 0) };
    const level = { free: lossOf(of, 'free'), given: lossOf(of, 'given'), gap };
    const left = used
      .map(i =>
        gapOf(
          of,
          once.map((times, j) => (j === i ? 0 : times)),
        ),
      )
      .filter(Number.isFinite);
    if (left.length < 2) return { ...shared, ...level, se: null, low: null, high: null, p: null, interval: null };
    const se = spread(left);
    const far = criticalT(0.05, left.length - 1) * se;
    const many = used.length >= FEWEST_ITEMS;
    const values = many ? Float64Array.from(bootstrap, times => gapOf(of, times)) : null;
    const ends = values ? basicInterval(gap, values) : { low: gap - far, high: gap + far };
    const reached = flips.filter(sign => Math.abs(gapOf(of, once, sign)) >= Math.abs(gap) - 1e-12).length;
    const p = (1 + reached) / (1 + draws);
    return { ...shared, ...level, se, ...ends, p, interval: many ? 'bootstrap' : 'jackknife' };
  });
  const names = ['group', 'documents', 'free', 'given', 'gap', 'se', 'low', 'high', 'p', 'interval'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

/** Of one language, by item: nats and the units that they are divided by. */
interface Sums {
  free: Float64Array;
  given: Float64Array;
  size: Float64Array;
  documents: number;
}

function sumsByItem(rows: DocumentGap[], language: string, items: string[], unit: GapOptions['unit']): Sums {
  const [free, given, size] = [0, 1, 2].map(() => new Float64Array(items.length));
  const place = new Map(items.map((item, i) => [item, i]));
  const own = rows.filter(row => row.language === language);
  for (const row of own) {
    const i = place.get(row.item)!;
    free[i] += row.free;
    given[i] += row.given;
    size[i] += unit === 'bits per byte' ? row.bytes * Math.LN2 : row.tokens;
  }
  return { free, given, size, documents: own.length };
}

/** Mean over languages of their ratios; items count `times`, their differences `sign` times. NaN if nothing is drawn. */
function gapOf(of: Sums[], times: Int32Array, sign?: Int8Array): number {
  let total = 0;
  let languages = 0;
  for (const { free, given, size } of of) {
    let difference = 0;
    let units = 0;
    for (let i = 0; i < times.length; i++) {
      difference += times[i] * (sign ? sign[i] : 1) * (given[i] - free[i]);
      units += times[i] * size[i];
    }
    if (units === 0) continue;
    total += difference / units;
    languages++;
  }
  return total / languages;
}

function lossOf(of: Sums[], which: 'free' | 'given'): number {
  const sum = (list: Float64Array) => list.reduce((total, value) => total + value, 0);
  return of.reduce((total, sums) => total + sum(sums[which]) / sum(sums.size), 0) / of.length;
}

/** Standard error from delete-one values. */
function spread(values: number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(((values.length - 1) / values.length) * squares);
}

function drawn(items: number, random: () => number): Int32Array {
  const times = new Int32Array(items);
  for (let i = 0; i < items; i++) times[Math.floor(random() * items)]++;
  return times;
}
