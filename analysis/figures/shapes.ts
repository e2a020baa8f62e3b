// Lines, bands and glyphs with plain attributes, rounded as everything here. A gap in the data is a gap in the line.
import { INK, type Mark, round } from './svg.ts';

/** Place of one value; null where there is none. */
export type Point = [x: number, y: number | null];
export type Glyph = 'circle' | 'square' | 'diamond' | 'up' | 'down' | 'plus' | 'star' | 'left';
export const GLYPHS: Glyph[] = ['circle', 'square', 'up', 'diamond', 'down', 'plus', 'star', 'left'];

/** Broken line through the points; one value alone between gaps becomes a short dash of 5 px. */
export function polyline(into: Mark, points: Point[], stroke: string, width = 1, dash = ''): Mark {
  const mark = into.append('path').attr('d', runs(points).map(runPath).join('')).attr('fill', 'none');
  mark.attr('stroke', stroke).attr('stroke-width', width).attr('stroke-linejoin', 'round');
  if (dash !== '') mark.attr('stroke-dasharray', dash);
  return mark;
}

/** Area between two lines over the same places; where either has a gap, so has the area. */
export function band(into: Mark, upper: Point[], lower: Point[], fill: string, opacity = 1): Mark {
  const whole = upper.map(([x, y], i): Point => [x, y === null || lower[i][1] === null ? null : y]);
  const areas = runs(whole).map(run => {
    const back = run.map(([x]) => lower.find(point => point[0] === x)!).reverse();
    const [there, here] = run.length > 1 ? [run, back] : [widen(run), widen(back).reverse()];
    return `${join(there, 'M')}${join(here, 'L')}Z`;
  });
  const mark = into.append('path').attr('d', areas.join('')).attr('fill', fill);
  if (opacity < 1) mark.attr('fill-opacity', opacity);
  return mark;
}

/** A glyph of about the same weight whatever its kind, `size` px in radius. */
export function drawGlyph(into: Mark, x: number, y: number, kind: Glyph, size: number, fill: string): Mark {
  const mark = into
    .append('path')
    .attr('d', glyphPath(kind, x, y, size))
    .attr('fill', fill);
  return mark;
}

/** Hollow form of the same: white inside, `stroke` around. */
export function drawHollow(into: Mark, x: number, y: number, kind: Glyph, size: number, stroke = INK): Mark {
  return drawGlyph(into, x, y, kind, size, '#FFFFFF').attr('stroke', stroke).attr('stroke-width', 1.4);
}

function glyphPath(kind: Glyph, x: number, y: number, size: number): string {
  const at = (places: number[][]) =>
    `${join(
      places.map(([dx, dy]) => [x + dx * size, y + dy * size]),
      'M',
    )}Z`;
  switch (kind) {
    case 'circle': {
      const [r, across] = [round(size), round(2 * size)];
      return `M${round(x - size)},${round(y)}a${r},${r} 0 1 0 ${across},0a${r},${r} 0 1 0 -${across},0Z`;
    }
    case 'square':
      return at([
        [-0.88, -0.88],
        [0.88, -0.88],
        [0.88, 0.88],
        [-0.88, 0.88],
      ]);
    case 'diamond':
      return at([
        [0, -1.3],
        [1.3, 0],
        [0, 1.3],
        [-1.3, 0],
      ]);
    case 'up':
      return at([
        [0, -1.25],
        [1.2, 0.9],
        [-1.2, 0.9],
      ]);
    case 'down':
      return at([
        [0, 1.25],
        [1.2, -0.9],
        [-1.2, -0.9],
      ]);
    case 'left':
      return at([
        [-1.25, 0],
        [0.9, 1.2],
        [0.9, -1.2],
      ]);
    case 'plus': {
      const arm = [
        [-0.42, -1.2],
        [0.42, -1.2],
        [0.42, -0.42],
        [1.2, -0.42],
        [1.2, 0.42],
        [0.42, 0.42],
      ];
      return at([...arm, ...arm.map(([dx, dy]) => [-dx, -dy])]);
    }
    case 'star':
      return at(Array.from({ length: 10 }, (_, i) => starPoint(i)));
  }
}

function starPoint(i: number): number[] {
  const radius = i % 2 === 0 ? 1.45 : 0.62;
  return [radius * Math.sin((i * Math.PI) / 5), -radius * Math.cos((i * Math.PI) / 5)];
}

/** Stretches of neighbouring points that all have a value. */
function runs(points: Point[]): [number, number][][] {
  const found: [number, number][][] = [];
  let open = false;
  for (const [x, y] of points) {
    if (y === null) {
      open = false;
      continue;
    }
    if (!open) found.push([]);
    found[found.length - 1].push([x, y]);
    open = true;
  }
  return found;
}

const runPath = (run: [number, number][]): string => join(run.length > 1 ? run : widen(run), 'M');
const widen = (run: Point[]): number[][] => [
  [run[0][0] - 2.5, run[0][1]!],
  [run[0][0] + 2.5, run[0][1]!],
];
const join = (points: (number | null)[][], first: 'M' | 'L'): string =>
  points.map(([x, y], i) => `${i === 0 ? first : 'L'}${round(x!)},${round(y!)}`).join('');
