// The test of late spread as a table for figures and files: label, kind, contrast, estimate, low, high; one row per contrast of
// the model and of each control, and over training seeds.
import { type ColumnTable, table } from 'arquero';
import type { Contrast } from './contrast.ts';
import type { Spread } from './spread.ts';
import type { SpreadControl } from './spread-controls.ts';
import type { SeedSpread } from './spread-seeds.ts';

export type SpreadKind = 'trained' | SpreadControl['kind'] | 'seed';
type Told = Record<(typeof NAMES)[number][0], Contrast>;
export interface SpreadRow {
  label: string;
  kind: SpreadKind;
  contrast: (typeof NAMES)[number][1];
  estimate: number;
  low: number | null;
  high: number | null;
}
const NAMES = [
  ['index', 'index'],
  ['lateEarly', 'late-early'],
  ['lateMiddle', 'late-middle'],
  ['earlyMiddle', 'early-middle'],
] as const;

/** Rows of the model, then its controls; none for a model without depth. */
export function spreadTable(label: string, spread: Spread, controls: SpreadControl[] = []): ColumnTable {
  const own = spread.contrasts ? contrastRows(label, 'trained', spread.contrasts) : [];
  return rowsTable([...own, ...controls.flatMap(({ label, kind, contrasts }) => contrastRows(label, kind, contrasts))]);
}

/** Rows of variants over their training seeds, in the order given. */
export function seedTable(variants: Map<string, SeedSpread>): ColumnTable {
  return rowsTable([...variants].flatMap(([label, spread]) => contrastRows(label, 'seed', spread)));
}

function contrastRows(label: string, kind: SpreadKind, of: Told): SpreadRow[] {
  return NAMES.map(([name, contrast]) => {
    const { estimate, low, high } = of[name];
    return { label, kind, contrast, estimate, low, high };
  });
}

function rowsTable(rows: SpreadRow[]): ColumnTable {
  const names = ['label', 'kind', 'contrast', 'estimate', 'low', 'high'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}
