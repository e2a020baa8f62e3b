// Tables of what a trace says besides its slots, made from its header and its counts per step.
//   counts     step, layer, language, expert, count, gate, and code, name, family of the language
//   languages  language, code, name, script, family, familyIndex, own (its expert), trainingBytes
import { type ColumnTable, from, table } from 'arquero';
import type { CountRow, TraceHeader } from '../routing/trace.ts';

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
