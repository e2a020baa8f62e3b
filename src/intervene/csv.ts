// The grid as a table for other programs: one row per intervention, control and language.
import type { GridColumn, LanguageEffect } from './grid.ts';

const COLUMNS = [
  ...['intervention', 'layers', 'experts', 'control', 'language', 'family'],
  ...['delta_bits_per_byte', 'low', 'high', 'documents', 'null_mean', 'null_sd'],
];

/** `control`: none for the intervention itself, `wrong layers`, or `experts of NAME`. Null mean and σ are those of the random
 *  experts. Numbers have 6 digits; what is not known is empty. */
export function gridCsv(
  columns: readonly GridColumn[],
  languages: readonly { code: string; family: string }[],
): string {
  const lines = columns.flatMap(({ planned, byLanguage, moved, others }) => {
    const sets = [...planned.experts].map(([layer, experts]) => `${layer}:${experts.join('+')}`).join(' ');
    const start = [planned.target.name, [...planned.experts.keys()].join(' '), sets];
    const rows = (control: string, effects: LanguageEffect[]): string[] =>
      effects.map(effect => {
        const { code, family } = languages[effect.language];
        const numbers = [effect.value, effect.low, effect.high, effect.documents, effect.null?.mean, effect.null?.sd];
        return [...start, control, code, family].map(quoted).concat(numbers.map(number)).join(',');
      });
    return [
      ...rows('none', byLanguage),
      ...(moved ? rows('wrong layers', moved.byLanguage) : []),
      ...(others ? rows(`experts of ${others.name}`, others.byLanguage) : []),
    ];
  });
  return `${[COLUMNS.join(','), ...lines].join('\n')}\n`;
}

const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const number = (value: number | null | undefined): string =>
  value === null || value === undefined || Number.isNaN(value) ? '' : String(Number(value.toPrecision(6)));
