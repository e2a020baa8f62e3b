// The sheet that a figure is drawn on: what was found in one line, how to read it, room for the picture, and below it
// the caption with view, n, interval and cut. The height follows from the words, so that nothing is cut off.
import type { View } from '../document-counts.ts';
import type { Averaging } from '../usage.ts';
import { type Provenance, provenance } from './caption.ts';
import { canvas, FAINT, type Mark, paragraph, wrap } from './svg.ts';

/** Width in px of most figures: printed on A4 (643 px between margins) its 11 px words are 9.8 px high. */
export const SHEET = 720;
export const SMALL = 10.5;
const MARGIN = 16;
const TITLE = 16;

/** What every figure is told beside its table. */
export interface FigureOptions {
  view: View;
  averaging: Averaging;
  /** How the intervals were made, for example “2,000 bootstrap draws over 200 parallel items”. */
  resampling?: string;
}
export interface Words {
  /** What was found or is shown, in one line. */
  title: string;
  /** How to read the picture. */
  reading: string;
  caption: string;
}
export interface Frame {
  root: Mark;
  /** The picture's room: drawn marks stay between these heights. */
  top: number;
  bottom: number;
  width: number;
}

/** Starts a figure of `width` with `body` px of height for the picture between head and caption. */
export function frame(width: number, body: number, { title, reading, caption }: Words): Frame {
  const inner = width - 2 * MARGIN;
  const heads = wrap(title, inner, TITLE).length * TITLE * 1.4;
  const top = Math.ceil(12 + heads + wrap(reading, inner, 12).length * 16.8 + 6);
  const bottom = top + body;
  const height = Math.ceil(bottom + 18 + wrap(caption, inner).length * 15.4);
  const root = canvas(width, height, title, caption);
  const below = paragraph(root, MARGIN, 12 + TITLE, inner, title, { size: TITLE, weight: 'bold' });
  paragraph(root, MARGIN, below - 3, inner, reading, { size: 12 });
  paragraph(root, MARGIN, bottom + 22, inner, caption, { fill: FAINT });
  return { root, top, bottom, width };
}

/** A sheet that says in a sentence why there is nothing to draw. */
export function emptyFrame(words: Words, why: string): Frame {
  const sheet = frame(SHEET, 60, words);
  paragraph(sheet.root, MARGIN, sheet.top + 34, SHEET - 2 * MARGIN, why, { size: 13 });
  return sheet;
}

/** Caption: view, n, run; how intervals were made, or that there are none (null: the figure shows none); the cut. */
export function captionOf(source: Provenance, options: FigureOptions, hasInterval: boolean | null, cut = ''): string {
  const made = options.resampling ? `, ${options.resampling}` : '';
  const interval = hasInterval
    ? `Intervals: 95 %${made}.`
    : hasInterval === false
      ? 'No interval could be computed.'
      : '';
  const words = [provenance(source, options.view, options.averaging), interval, cut];
  return words.filter(part => part !== '').join(' ');
}
