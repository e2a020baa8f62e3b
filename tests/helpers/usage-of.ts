// The usage table of a trace in memory, by the way that the analysis takes: counts per document, language rows, table.
import type { ColumnTable } from 'arquero';
import type { View } from '../../analysis/document-counts.ts';
import { documentCountsOf } from '../../analysis/read/document-counts.ts';
import { type Averaging, languageRows } from '../../analysis/rows.ts';
import { rowsToUsage } from '../../analysis/rows-to-usage.ts';
import type { Trace } from '../../routing/trace.ts';

export function usageOf(
  trace: Trace,
  { view, averaging }: { view: View; averaging: Averaging },
  options: { dropFirst?: boolean } = {},
): ColumnTable {
  const counts = documentCountsOf(trace, options);
  return rowsToUsage(languageRows(counts, view, averaging, trace.header), counts, trace.header);
}
