// Pools a usage table over languages, each language counting once: into one row per family, or into one row `all`.
// Languages without counted tokens are left out of the mean; a family without any stays null.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { familiesOf } from './table.ts';
import { type UsageRow, usageTable } from './usage.ts';

/** Mean of the languages' rows, as a usage table whose `group` is the family name or `all`. */
export function pool(usage: ColumnTable, header: TraceHeader, by: 'family' | 'all'): ColumnTable {
  const groups = by === 'all' ? ['all'] : familiesOf(header);
  const groupOf = new Map(header.languages.map(l => [l.code, by === 'all' ? 'all' : l.family]));
  const rows = new Map<string, UsageRow & { n: number }>();
  for (const layer of header.moeLayers) {
    for (const group of groups) {
      for (let expert = 0; expert < header.numExperts; expert++) {
        const empty = { layer, group, expert, share: 0, tokenShare: 0, tokens: 0, documents: 0, n: 0 };
        rows.set(`${layer} ${group} ${expert}`, empty);
      }
    }
  }
  for (const row of usage.objects() as UsageRow[]) {
    const into = rows.get(`${row.layer} ${groupOf.get(row.group)} ${row.expert}`);
    if (!into || row.share === null || row.tokenShare === null) continue;
    into.share = (into.share ?? 0) + row.share;
    into.tokenShare = (into.tokenShare ?? 0) + row.tokenShare;
    into.tokens += row.tokens;
    into.documents += row.documents;
    into.n++;
  }
  return usageTable(
    [...rows.values()].map(({ n, ...row }) => {
      const mean = (sum: number | null) => (n > 0 && sum !== null ? sum / n : null);
      return { ...row, share: mean(row.share), tokenShare: mean(row.tokenShare) };
    }),
  );
}
