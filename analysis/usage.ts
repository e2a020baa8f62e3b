// M1, usage: the table of q_λ(e) (rows-to-usage.ts makes it from documents, here it is made from counts): the share of a language's routing that goes to expert e, per MoE layer. Three choices, always named:
//   view       selection  q_λ(e) = slots of λ that chose e / all slots of λ            (ApolloMoE's heat map)
//              gate       q_λ(e) = mean over tokens of gate(e) / sum of the token's gates
//   averaging  documents  mean over the tokens of a document, then over documents: each document counts once
//              tokens     all tokens pooled
// tokenShare a_λ(e) = k · q_λ(e) is, in the selection view, the share of tokens that choose e (0…1, a row sums to k).
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { View } from './document-counts.ts';

export type Averaging = 'documents' | 'tokens';

/** One row of the usage table: `group` is a language code, a family or `all`. Shares are null without counted tokens. */
export interface UsageRow {
  layer: number;
  group: string;
  expert: number;
  share: number | null;
  tokenShare: number | null;
  tokens: number;
  documents: number;
}

/** Usage of one step from the exact counts; tokens pooled, because counts know no documents. */
export function usageOfCounts(counts: ColumnTable, header: TraceHeader, view: View, step: number): ColumnTable {
  const ofStep = counts.params({ step }).filter('(d, $) => d.step === $.step');
  const cells = ofStep
    .derive({ mass: view === 'selection' ? 'd => d.count' : 'd => d.gate' })
    .groupby('layer', 'language')
    .derive({ sum: 'd => d.mass / op.sum(d.mass)' })
    .groupby('layer', 'language', 'expert')
    .rollup({ sum: 'd => op.sum(d.sum)' });
  const totals = ofStep
    .groupby('layer', 'language')
    .rollup({ slots: 'd => op.sum(d.count)', tokens: 'd => op.sum(d.gate)' })
    .derive({ documents: 'd => 0', tokens: 'd => op.round(d.tokens)' })
    .filter('d => d.slots > 0');
  return dense(cells, totals, header);
}

interface Totals {
  layer: number;
  language: number;
  slots: number;
  tokens: number;
  documents: number;
}

/** Spreads sparse sums over the full grid layers × languages × experts. */
function dense(cells: ColumnTable, totals: ColumnTable, header: TraceHeader): ColumnTable {
  const { languages, numExperts: E } = header;
  const total = new Map((totals.objects() as Totals[]).map(row => [`${row.layer} ${row.language}`, row]));
  const sum = new Map<string, number>();
  for (const cell of cells.objects() as { layer: number; language: number; expert: number; sum: number }[]) {
    sum.set(`${cell.layer} ${cell.language} ${cell.expert}`, cell.sum);
  }
  const rows: UsageRow[] = [];
  for (const layer of header.moeLayers) {
    for (const [l, language] of languages.entries()) {
      const t = total.get(`${layer} ${l}`);
      for (let expert = 0; expert < E; expert++) {
        const share = t ? (sum.get(`${layer} ${l} ${expert}`) ?? 0) : null;
        const tokenShare = t && share !== null ? (share * t.slots) / t.tokens : null;
        const { tokens = 0, documents = 0 } = t ?? {};
        rows.push({ layer, group: language.code, expert, share, tokenShare, tokens, documents });
      }
    }
  }
  return usageTable(rows);
}

/** Column order is fixed even when there are no rows. */
export function usageTable(rows: UsageRow[]): ColumnTable {
  const names = ['layer', 'group', 'expert', 'share', 'tokenShare', 'tokens', 'documents'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}

const grouped = new WeakMap<ColumnTable, Map<string, Map<number, Map<string, Float64Array | null>>>>();

/** The rows q(e) of one layer, by group, in table order; null for a group without counted tokens. */
export function shareRows(
  usage: ColumnTable,
  layer: number,
  column: 'share' | 'tokenShare' = 'share',
): Map<string, Float64Array | null> {
  const kept = grouped.get(usage) ?? new Map<string, Map<number, Map<string, Float64Array | null>>>();
  grouped.set(usage, kept);
  const layers = kept.get(column) ?? rowsByLayer(usage, column);
  kept.set(column, layers);
  return layers.get(layer) ?? new Map();
}

function rowsByLayer(usage: ColumnTable, column: string): Map<number, Map<string, Float64Array | null>> {
  const [layer, group, value] = ['layer', 'group', column].map(name => usage.array(name) as ArrayLike<unknown>);
  const lists = new Map<number, Map<string, (number | null)[]>>();
  for (let i = 0; i < value.length; i++) {
    const groups = lists.get(layer[i] as number) ?? new Map<string, (number | null)[]>();
    lists.set(layer[i] as number, groups);
    const list = groups.get(group[i] as string);
    if (list) list.push(value[i] as number | null);
    else groups.set(group[i] as string, [value[i] as number | null]);
  }
  const row = (values: (number | null)[]) => (values.includes(null) ? null : Float64Array.from(values as number[]));
  return new Map([...lists].map(([l, groups]) => [l, new Map([...groups].map(([name, list]) => [name, row(list)]))]));
}
