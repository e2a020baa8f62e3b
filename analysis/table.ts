// The arquero tables that every measure works on, made from a trace. Typed arrays are shared, not copied.
//   slots      one row per routed slot of one step: step, document, position, token, language, layer, slot, expert, gate,
//              share (gate / sum of the token's gates in that layer, so that a token weighs 1), family (index)
//   counts     step, layer, language, expert, count, gate, and code, name, family of the language
//   languages  language, code, name, script, family, familyIndex, own (its expert), trainingBytes
import { type ColumnTable, from, table } from 'arquero';
import type { CountRow, Trace, TraceColumns, TraceHeader } from '../routing/trace.ts';

/** Families in the order of their expert, then of first appearance. */
export function familiesOf(header: TraceHeader): string[] {
  const byExpert = [...header.languages].sort((a, b) => a.expert - b.expert);
  return [...new Set(byExpert.map(language => language.family))];
}

export function languagesTable(header: TraceHeader): ColumnTable {
  const families = familiesOf(header);
  return from(
    header.languages.map(({ expert, ...rest }, language) => {
      return { language, ...rest, familyIndex: families.indexOf(rest.family), own: expert };
    }),
  );
}

export function countsTable(counts: CountRow[], header: TraceHeader): ColumnTable {
  const column = (name: keyof CountRow) => counts.map(row => row[name]);
  const names = ['step', 'layer', 'language', 'expert', 'count', 'gate'] as const;
  const numbers = table(Object.fromEntries(names.map(name => [name, column(name)])));
  return numbers.join_left(languagesTable(header).select('language', 'code', 'name', 'family'), 'language');
}

/** Steps that the slots hold, ascending. */
export const stepsOf = (columns: TraceColumns): number[] => [...new Set(columns.step)].sort((a, b) => a - b);

export interface SlotOptions {
  /** Which step; the last by default. */
  step?: number;
  /** Leave out the first token of each document, whose routing is positional (attention sink). Default true. */
  dropFirst?: boolean;
}

/** The slots of one step, with `share` and `family`. */
export function slotsTable({ header, columns }: Trace, options: SlotOptions = {}): ColumnTable {
  const step = options.step ?? stepsOf(columns).at(-1);
  const firstKept = (options.dropFirst ?? true) ? 1 : 0;
  const kept = columns.position.map((position, i) => (columns.step[i] === step && position >= firstKept ? 1 : 0));
  const keep = new Int32Array(kept.reduce((n, one) => n + one, 0));
  for (let i = 0, n = 0; i < kept.length; i++) if (kept[i] === 1) keep[n++] = i;
  const pick = (column: ArrayLike<number>) => keep.map(i => column[i]);
  const { gate, ...integers } = columns;
  const data: Record<string, Int32Array | Float64Array> = {};
  for (const [name, column] of Object.entries(integers)) data[name] = pick(column);
  data.gate = Float64Array.from(keep, i => gate[i]);
  data.share = gateShares(data.slot, data.gate);
  const families = familiesOf(header);
  const familyOf = header.languages.map(language => families.indexOf(language.family));
  data.family = Int32Array.from(data.language, language => familyOf[language]);
  return table(data);
}

/** Gates divided by their sum over the adjacent slots of a token; equal shares where all gates are zero. */
function gateShares(slot: ArrayLike<number>, gate: ArrayLike<number>): Float64Array {
  const share = new Float64Array(slot.length);
  for (let start = 0; start < slot.length; ) {
    let end = start + 1;
    let sum = gate[start];
    while (end < slot.length && slot[end] !== 0) sum += gate[end++];
    for (let i = start; i < end; i++) share[i] = sum > 0 ? gate[i] / sum : 1 / (end - start);
    start = end;
  }
  return share;
}
