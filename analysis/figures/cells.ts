// A row of equal coloured cells in few marks: one path per colour, neighbours of one colour in one stroke, so that a
// picture of 50 × 128 × 6 cells stays under 700 kB. A panel tells once where its columns stand, a row its values: a
// page can say which cell the pointer is on without a mark per cell.
import { type Mark, round } from './svg.ts';

/** More cells than this in a picture are drawn in rows; fewer are marks of their own, each with its own words. */
export const MOST_MARKS = 4000;
/** Shades told apart in a row of cells. */
export const SHADES = 24;

/** Rounds 0…1 to one of SHADES + 1 steps. */
export const shade = (t: number): number => Math.round(Math.min(Math.max(t, 0), 1) * SHADES) / SHADES;

/** Columns of a panel: left edge, width of one and the expert of each; inside, one unit along x is one column. */
export function cellPanel(into: Mark, x: number, pitch: number, height: number, experts: number[]): Mark {
  const panel = into.append('g').attr('fill', 'none').attr('stroke-width', round(height));
  panel.attr('shape-rendering', 'crispEdges').attr('transform', `translate(${round(x)} 0) scale(${round(pitch)} 1)`);
  return panel.attr('data-x', round(x)).attr('data-pitch', round(pitch)).attr('data-experts', experts.join(','));
}

/**
 * Draws a row into a panel, vertically centred on `y`: colours by column, null leaves the ground bare. `values` (what
 * each column shows, in thousandths; 0 is written as nothing) go to `data-values`. Returns the row's group, to be
 * tagged.
 */
export function cellRow(panel: Mark, y: number, colours: (string | null)[], values: (number | null)[]): Mark {
  const row = panel.append('g').attr('transform', `translate(0 ${round(y)})`);
  row.attr('data-values', values.map(value => value || '').join(','));
  const strokes = new Map<string, { path: string; at: number }>();
  for (let start = 0; start < colours.length; ) {
    const colour = colours[start];
    let end = start + 1;
    while (end < colours.length && colours[end] === colour) end++;
    if (colour !== null) {
      const { path, at } = strokes.get(colour) ?? { path: '', at: 0 };
      const step = path === '' ? `M${start} 0` : `m${start - at} 0`;
      strokes.set(colour, { path: `${path}${step}h${end - start}`, at: end });
    }
    start = end;
  }
  for (const [colour, { path }] of strokes) row.append('path').attr('stroke', colour).attr('d', path);
  return row;
}
