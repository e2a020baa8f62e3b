// Words beside marks: labels at the ends of lines, pushed apart and tied to their line; numbers and intervals as a
// reader wants them.
import { apart, INK, line, type Mark, text } from './svg.ts';

/** Mean width of a word in px, by the measure that `wrap` uses. */
export const textWidth = (words: string, size = 11): number => words.length * size * 0.56;

/** 0.1234 → “0.12”; −0.02 → “−0.02”; never “−0.00”. */
export function decimal(value: number, places = 2): string {
  const words = Math.abs(value).toFixed(places);
  return value < 0 && Number(words) !== 0 ? `−${words}` : words;
}

/** The same with its sign. */
export const signed = (value: number, places = 2): string =>
  value > 0 && Number(value.toFixed(places)) !== 0 ? `+${decimal(value, places)}` : decimal(value, places);

/** “0.12 (0.10 to 0.14)”, or the value alone where no interval is known. */
export function withInterval(
  value: number,
  low: number | null | undefined,
  high: number | null | undefined,
  words: (value: number) => string = decimal,
): string {
  return low == null || high == null ? words(value) : `${words(value)} (${words(low)} to ${words(high)})`;
}

export interface End {
  label: string;
  y: number;
  colour: string;
  weight?: 'normal' | 'bold';
}

/** Labels right of line ends at `x`, at least `gap` px apart between `low` and `high`, each tied to its line. */
export function endLabels(root: Mark, x: number, ends: End[], low: number, high: number, gap = 14): void {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  const fits = Math.min(gap, (high - low) / Math.max(sorted.length - 1, 1));
  const wanted = sorted.map(end => end.y);
  const places = apart(wanted, fits, low, high);
  for (const [i, { label, y, colour, weight }] of sorted.entries()) {
    line(root, x + 2, y, x + 16, places[i], colour, 1.2);
    text(root, x + 20, places[i] + 4, label, { weight, fill: INK });
  }
}
