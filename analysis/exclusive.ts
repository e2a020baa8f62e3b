// M10, exclusive and shared experts (Chen et al. 2026, 2601.14050). Per language and layer only the K most used experts are
// kept; s_λ(e) = a_λ(e) / Σ_λ' a_λ'(e) over the kept ones. An expert is exclusive to a group of languages if Σ_group s > θ,
// shared if no single s reaches θ, neither in between (one language has θ or more, outside the group asked about), and unused
// if nobody keeps it. s is 1/n under a uniform router: θ means something else with another number of languages.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { presentLanguages } from './distance.ts';
import type { Estimate, LanguageRows, Statistic } from './document-counts.ts';

export interface ExclusiveOptions {
  /** K. Default 15; the published steering used 20. */
  keep?: number;
  /** θ. Default 0.4; the published steering used 0.7. */
  threshold?: number;
  /** Group of each header language: its code (default), its family, or '' to belong to none that is asked about. */
  groups?: readonly string[];
}
export type ExpertKind = 'exclusive' | 'shared' | 'neither' | 'unused';

/** s of one layer by language and expert, from rows q[λ][e]; all 0 for an expert that nobody keeps. Ties keep the lower id. */
export function languageShares(q: readonly ArrayLike<number>[], keep: number): Float64Array[] {
  const kept = q.map(row => mostUsed(row, keep));
  const sum = new Float64Array(q[0]?.length ?? 0);
  for (const row of kept) for (let e = 0; e < sum.length; e++) sum[e] += row[e];
  return kept.map(row => row.map((value, e) => (sum[e] > 0 ? value / sum[e] : 0)));
}

/** The row with all but its `keep` largest values set to 0. */
function mostUsed(row: ArrayLike<number>, keep: number): Float64Array {
  const values = Float64Array.from(row);
  if (keep >= values.length) return values;
  const limit = values.slice().sort()[values.length - keep];
  let ties = keep - values.reduce((above, value) => above + (value > limit ? 1 : 0), 0);
  return values.map(value => (value > limit || (value === limit && ties-- > 0) ? value : 0));
}

interface Kind {
  kind: ExpertKind;
  /** The group with the largest share, first of equals; null for unused experts. */
  group: string | null;
  share: number;
}

/** Kind of each expert of one layer. `group` of each row of `share`; rows of group '' count as languages, not as a group. */
export function kindsOf(share: readonly Float64Array[], group: readonly string[], threshold: number): Kind[] {
  const names = [...new Set(group)].filter(name => name !== '');
  const number = group.map(name => names.indexOf(name));
  const sum = new Float64Array(names.length);
  return Array.from(share[0] ?? [], (_, e) => {
    sum.fill(0);
    let largest = 0;
    for (let l = 0; l < share.length; l++) {
      largest = Math.max(largest, share[l][e]);
      if (number[l] >= 0) sum[number[l]] += share[l][e];
    }
    if (largest === 0) return { kind: 'unused', group: null, share: 0 };
    let best = 0;
    for (let g = 1; g < sum.length; g++) if (sum[g] > sum[best]) best = g;
    const kind = sum[best] > threshold ? 'exclusive' : largest < threshold ? 'shared' : 'neither';
    return { kind, group: names[best] ?? null, share: sum[best] ?? 0 };
  });
}

/** The largest group share of every expert, [L · E]; 0 for unused ones. */
export function exclusiveStatistic(header: TraceHeader, options: ExclusiveOptions = {}): Statistic {
  return {
    name: 'exclusive',
    range: [0, 1],
    of: rows => kindsByLayer(rows, header, options).flatMap(kinds => kinds.map(({ share }) => share)),
  };
}

/**
 * How the languages lean: per layer and header language, share of its routing (nothing left out) that goes to shared experts
 * and to experts exclusive to its group, [L · n · 2]; NaN for absent languages.
 */
export function leaningStatistic(header: TraceHeader, options: ExclusiveOptions = {}): Statistic {
  const groups = groupsOf(header, options);
  const of = (rows: LanguageRows) =>
    kindsByLayer(rows, header, options).flatMap((kinds, layer) =>
      groups.flatMap((own, l) => {
        if (rows.present[l] === 0) return [Number.NaN, Number.NaN];
        const at = (layer * rows.languages + l) * rows.experts;
        const mass = (wanted: (kind: Kind) => boolean) =>
          kinds.reduce((sum, kind, e) => (wanted(kind) ? sum + rows.q[at + e] : sum), 0);
        return [
          mass(({ kind }) => kind === 'shared'),
          mass(({ kind, group }) => kind === 'exclusive' && group === own),
        ];
      }),
    );
  return { name: 'leaning', range: [0, 1], of };
}

/** One row per layer and language: `shared` and `exclusive` mass, with intervals where estimates of leaningStatistic are given. */
export function leaning(
  rows: LanguageRows,
  header: TraceHeader,
  options: ExclusiveOptions = {},
  estimates?: Estimate[],
): ColumnTable {
  const plugIn = leaningStatistic(header, options).of(rows);
  const lines = header.moeLayers.flatMap((layer, m) =>
    presentLanguages(rows).map(l => {
      const at = 2 * (m * rows.languages + l);
      const [shared, exclusive] = [estimates?.[at], estimates?.[at + 1]];
      return {
        layer,
        group: header.languages[l].code,
        shared: shared?.estimate ?? plugIn[at],
        sharedLow: shared?.low ?? null,
        sharedHigh: shared?.high ?? null,
        exclusive: exclusive?.estimate ?? plugIn[at + 1],
        exclusiveLow: exclusive?.low ?? null,
        exclusiveHigh: exclusive?.high ?? null,
      };
    }),
  );
  const ends = ['sharedLow', 'sharedHigh', 'exclusive', 'exclusiveLow', 'exclusiveHigh'] as const;
  const names = ['layer', 'group', 'shared', ...ends] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

/**
 * One row per layer and expert, from rows in the selection view: `kind`, the `group` with the largest share (null for unused
 * experts) and that `share` as observed, with `low` and `high` of exclusiveStatistic's estimates.
 */
export function exclusive(
  rows: LanguageRows,
  header: TraceHeader,
  options: ExclusiveOptions = {},
  estimates?: Estimate[],
): ColumnTable {
  const lines = kindsByLayer(rows, header, options).flatMap((kinds, m) =>
    kinds.map((kind, expert) => {
      const estimate = estimates?.[m * rows.experts + expert];
      return { layer: header.moeLayers[m], expert, ...kind, low: estimate?.low ?? null, high: estimate?.high ?? null };
    }),
  );
  const names = ['layer', 'expert', 'kind', 'group', 'share', 'low', 'high'] as const;
  return table(Object.fromEntries(names.map(name => [name, lines.map(line => line[name])])));
}

const groupsOf = (header: TraceHeader, { groups }: ExclusiveOptions): readonly string[] =>
  groups ?? header.languages.map(({ code }) => code);

function kindsByLayer(rows: LanguageRows, header: TraceHeader, options: ExclusiveOptions): Kind[][] {
  const { languages: n, experts: E, q } = rows;
  const present = presentLanguages(rows);
  const group = present.map(l => groupsOf(header, options)[l]);
  return header.moeLayers.map((_, m) => {
    const list = present.map(l => q.subarray((m * n + l) * E, (m * n + l + 1) * E));
    const kinds = kindsOf(languageShares(list, options.keep ?? 15), group, options.threshold ?? 0.4);
    return kinds.length > 0
      ? kinds
      : Array.from({ length: E }, () => ({ kind: 'unused', group: null, share: 0 }) as const);
  });
}
