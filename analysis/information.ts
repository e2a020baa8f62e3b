// M5, the routing budget. With q_λ the language rows of a layer (languages weighted equally) and q̄ their mean, exactly
//   log E = [log E − H(q̄)] unused + [mean_λ H(q_λ)] shared + I(Λ;E) language,   I(Λ;E) = H(q̄) − mean_λ H(q_λ).
// Families refine it: I(Λ;E) = I(F;E) + I(Λ;E|F), what the family tells plus what the language tells beyond it.
// I is biased up when tokens are few (about (n−1)(E−1)/2N for N independent draws) and a lower bound when k > 1.
// Estimate, interval and null come from resampling informationStatistic (language-information.ts).
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { Estimate } from './document-counts.ts';
import { entropyOf } from './entropy.ts';
import { shareRows } from './usage.ts';

export interface Budget {
  /** log E, the whole budget in nats. */
  total: number;
  unused: number;
  shared: number;
  language: number;
  /** I(F;E) and I(Λ;E|F); their sum is `language`. */
  family: number;
  withinFamily: number;
}

/** Splits log E for rows q_λ(e) and the family of each row. All parts are ≥ 0 and sum to log E. */
export function budgetOf(rows: Float64Array[], family: string[]): Budget {
  const E = rows[0].length;
  const pooled = entropyOf(mean(rows));
  const shared = rows.reduce((sum, q) => sum + entropyOf(q), 0) / rows.length;
  let withinFamilies = 0;
  for (const name of new Set(family)) {
    const members = rows.filter((_, i) => family[i] === name);
    withinFamilies += (members.length / rows.length) * entropyOf(mean(members));
  }
  const parts = { unused: Math.log(E) - pooled, shared, language: pooled - shared };
  const split = { family: pooled - withinFamilies, withinFamily: withinFamilies - shared };
  return { total: Math.log(E), ...parts, ...split };
}

/** I(X;Y) in nats of a joint distribution given as rows; the rows need not be normalised. */
export function mutualInformation(joint: ArrayLike<number>[]): number {
  const sum = (row: ArrayLike<number>) => Array.from(row).reduce((a, b) => a + b, 0);
  const total = joint.reduce((a, row) => a + sum(row), 0);
  const column = Array.from(joint[0], (_, j) => joint.reduce((a, row) => a + row[j], 0) / total);
  const cells = joint.flatMap(row => Array.from(row, value => value / total));
  return entropyOf(joint.map(row => sum(row) / total)) + entropyOf(column) - entropyOf(cells);
}

/** I(X;Y) of a table of counts with the Miller–Madow correction; right only for independent draws. */
export function millerMadowInformation(counts: ArrayLike<number>[]): number {
  const cells = counts.map(row => Array.from(row));
  const rows = cells.filter(row => row.some(count => count > 0)).length;
  const columns = cells[0].filter((_, j) => cells.some(row => row[j] > 0)).length;
  const total = cells.flat().reduce((a, b) => a + b, 0);
  const occupied = cells.flat().filter(count => count > 0).length;
  return mutualInformation(counts) + (rows - 1 + (columns - 1) - (occupied - 1)) / (2 * total);
}

/**
 * One row per layer: the Budget, the number of languages and families in it, and ofLanguages = I / log n, the share of the
 * language's identity that one routed slot gives away. From `estimates` of informationStatistic, one per MoE layer: estimate
 * (bias-corrected), se, low, high, nullMean, excess and the family-wise p over layers, of `language`; null without them.
 * Layers without any counted token are left out.
 */
export function information(usage: ColumnTable, header: TraceHeader, estimates?: Estimate[]): ColumnTable {
  const familyOf = new Map(header.languages.map(language => [language.code, language.family]));
  const rows = header.moeLayers.flatMap((layer, l) => {
    const present = [...shareRows(usage, layer)].filter((row): row is [string, Float64Array] => row[1] !== null);
    if (present.length === 0) return [];
    const family = present.map(([code]) => familyOf.get(code) ?? '');
    const budget = budgetOf(
      present.map(([, q]) => q),
      family,
    );
    const languages = present.length;
    const ofLanguages = languages > 1 ? budget.language / Math.log(languages) : null;
    return [
      { layer, ...budget, languages, families: new Set(family).size, ofLanguages, ...estimateColumns(estimates?.[l]) },
    ];
  });
  return table(Object.fromEntries(NAMES.map(name => [name, rows.map(row => row[name])])));
}

function estimateColumns(of: Estimate | undefined) {
  const known = of !== undefined && Number.isFinite(of.estimate);
  return {
    estimate: known ? of.estimate : null,
    se: of?.se ?? null,
    low: of?.low ?? null,
    high: of?.high ?? null,
    nullMean: of?.nullMean ?? null,
    excess: of?.excess ?? null,
    p: of?.pFamily ?? of?.p ?? null,
  };
}
const NAMES = [
  'layer',
  'total',
  'unused',
  'shared',
  'language',
  'family',
  'withinFamily',
  'languages',
  'families',
  'ofLanguages',
  'estimate',
  'se',
  'low',
  'high',
  'nullMean',
  'excess',
  'p',
] as const;
function mean(rows: Float64Array[]): Float64Array {
  const sum = new Float64Array(rows[0].length);
  for (const q of rows) for (let e = 0; e < q.length; e++) sum[e] += q[e] / rows.length;
  return sum;
}
