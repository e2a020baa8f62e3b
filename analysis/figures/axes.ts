// Axes of all figures: a value axis with grid lines on the left or below, and the axis of MoE layers, which are places
// in a row and not a measure: dense layers between them have no router and take no room.
import { scaleLinear } from 'd3-scale';
import { FAINT, line, type Mark, text } from './svg.ts';

export const GRID = '#DDDDDD';

export interface Plot {
  left: number;
  top: number;
  right: number;
  bottom: number;
}
export type Scale = ReturnType<typeof linear>;

/** Linear scale from `domain` to `range`; an empty domain is opened by a hair, so that one value still has a place. */
export function linear([low, high]: [number, number], range: [number, number]) {
  return scaleLinear(high > low ? [low, high] : [low - 0.5, low + 0.5], range);
}

export interface AxisOptions {
  title?: string;
  format: (value: number) => string;
  /** About how many ticks. Default 4. */
  count?: number;
}

/** Grid lines across the plot with their values left of it. */
export function leftAxis(root: Mark, plot: Plot, y: Scale, { title, format, count = 4 }: AxisOptions): void {
  for (const tick of y.ticks(count)) {
    line(root, plot.left, y(tick), plot.right, y(tick), GRID, 0.8);
    text(root, plot.left - 6, y(tick) + 3.8, format(tick), { anchor: 'end' });
  }
  if (title) text(root, 14, (plot.top + plot.bottom) / 2, title, { anchor: 'middle', rotate: -90, fill: FAINT });
}

/** Grid lines down the plot with their values below it. */
export function bottomAxis(root: Mark, plot: Plot, x: Scale, { title, format, count = 4 }: AxisOptions): void {
  for (const tick of x.ticks(count)) {
    line(root, x(tick), plot.top, x(tick), plot.bottom, GRID, 0.8);
    text(root, x(tick), plot.bottom + 15, format(tick), { anchor: 'middle' });
  }
  if (title) text(root, (plot.left + plot.right) / 2, plot.bottom + 32, title, { anchor: 'middle', fill: FAINT });
}

/** Middle of the room of the i-th of `count` layers. */
export function layerPlace(plot: Plot, count: number): (i: number) => number {
  const pitch = (plot.right - plot.left) / Math.max(count, 1);
  return i => plot.left + (i + 0.5) * pitch;
}

/** The same for lines, which reach from edge to edge, 8 px inside. */
export function linePlace(plot: Plot, count: number): (i: number) => number {
  const step = (plot.right - plot.left - 16) / Math.max(count - 1, 1);
  return count === 1 ? layerPlace(plot, 1) : i => plot.left + 8 + i * step;
}

/** Layer numbers below the plot, as many as fit, the first and the last among them. */
export function layerAxis(
  root: Mark,
  plot: Plot,
  layers: number[],
  title = 'MoE layer',
  x = layerPlace(plot, layers.length),
): void {
  const pitch = (plot.right - plot.left) / Math.max(layers.length, 1);
  const room = 10 + 6.5 * `${layers.at(-1) ?? ''}`.length;
  for (const i of labelled(layers.length, Math.ceil(room / pitch))) {
    text(root, x(i), plot.bottom + 14, `${layers[i]}`, { anchor: 'middle' });
  }
  text(root, (plot.left + plot.right) / 2, plot.bottom + 30, title, { anchor: 'middle', fill: FAINT });
}

/** Every `step`-th place of `count` from the first, and the last, which pushes out a neighbour nearer than a step. */
export function labelled(count: number, step: number): number[] {
  const places = Array.from({ length: Math.ceil((count - 1) / step) }, (_, i) => i * step);
  const last = Math.max(count - 1, 0);
  if (places.length > 1 && last - places[places.length - 1] < step) places.pop();
  return count === 0 ? [] : [...places, last];
}
