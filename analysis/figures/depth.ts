// Depth in words: means over the early, middle and late layers of bands.ts, or layer by layer where depth cannot be
// told.
import type { TraceHeader } from '../../routing/trace.ts';
import { bandsOf, noDepth } from '../bands.ts';

const VERDICTS: Record<string, string> = {
  'late spread': 'Late spread',
  'U-shape': 'U-shape',
  both: 'U-shape that ends higher',
  neither: 'No late spread',
  'cannot tell': 'Undecided',
};

/** A verdict of the test of late spread, as it opens a title. */
export const verdictWords = (verdict: string): string => VERDICTS[verdict] ?? verdict;

/** Mean over the values that are there; null where none is. */
export function meanOf(values: (number | null | undefined)[]): number | null {
  const known = values.filter((value): value is number => value != null && Number.isFinite(value));
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}

/**
 * “2 % of routing early, 1 % midway, 14 % late”, the first with `of`; models that route only in part of their depth
 * tell their first and last layer. `values` by place in `layers`.
 */
export function byDepth(
  header: TraceHeader,
  layers: number[],
  values: (number | null)[],
  words: (value: number) => string,
  of = '',
): string {
  const known = stages(header, layers).flatMap(({ where, places }) => {
    const value = meanOf(places.map(i => values[i]));
    return value === null ? [] : [{ where, value }];
  });
  return known.map(({ where, value }, i) => `${words(value)}${i === 0 ? of : ''} ${where}`).join(', ');
}

function stages(header: TraceHeader, layers: number[]): { where: string; places: number[] }[] {
  if (layers.length >= 3 && noDepth(header) === null) {
    const { early, middle, late } = bandsOf(layers.length);
    const names = { early, midway: middle, late };
    return Object.entries(names).map(([where, places]) => ({ where, places }));
  }
  const ends = [...new Set([0, layers.length - 1])].filter(i => i >= 0);
  return ends.map(i => ({ where: `in layer ${layers[i]}`, places: [i] }));
}

/** Mean over the late layers, or the last layer's value where depth cannot be told; null where there is none. */
export function lateOf(header: TraceHeader, layers: number[], values: (number | null)[]): number | null {
  const last = stages(header, layers).at(-1);
  return last === undefined ? null : meanOf(last.places.map(i => values[i]));
}
