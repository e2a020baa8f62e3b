// The numbers of a long table as dense rows: values by layer, then by group (a language, a family), one per expert.
import type { ColumnTable } from 'arquero';

/** Rows of one layer by group, in table order; null for a group without counted tokens. */
export type GridRows = Map<string, Float64Array | null>;

/**
 * Reads layer, group, expert and one more column in a single pass. A group with a missing value in a layer is null
 * there.
 */
export function grid(table: ColumnTable, column: string, experts: number): Map<number, GridRows> {
  const [layer, group, expert, value] = ['layer', 'group', 'expert', column].map(
    name => table.array(name) as ArrayLike<unknown>,
  );
  const layers = new Map<number, GridRows>();
  for (let i = 0; i < table.numRows(); i++) {
    const at = layer[i] as number;
    if (!layers.has(at)) layers.set(at, new Map());
    const rows = layers.get(at)!;
    const name = group[i] as string;
    const present = typeof value[i] === 'number' && !Number.isNaN(value[i]);
    if (!present) rows.set(name, null);
    else if (!rows.has(name)) rows.set(name, new Float64Array(experts));
    const row = rows.get(name);
    if (present && row) row[expert[i] as number] = value[i] as number;
  }
  return layers;
}

/** Mean of the rows that are present; null if none is. */
export function meanRow(rows: (Float64Array | null)[]): Float64Array | null {
  const present = rows.filter(row => row !== null);
  if (present.length === 0) return null;
  return present[0].map((_, e) => present.reduce((sum, row) => sum + row[e], 0) / present.length);
}
