// The one file that touches d3-node: an empty figure with a white ground, a title and a description, and its text.
// Everything drawn is appended with plain attributes, numbers rounded to 1/100 px, so that equal input gives equal bytes.
// @ts-expect-error d3-node ships no types
import { D3Node } from 'd3-node';

/** The part of a d3 selection that the figures use. */
export interface Mark {
  append(name: string): Mark;
  attr(name: string, value: string | number): Mark;
  text(value: string): Mark;
  node(): Drawn;
}
interface Drawn {
  ownerDocument: { defaultView: { XMLSerializer: new () => { serializeToString(node: Drawn): string } } };
}

export interface Figure {
  /** File name without extension. */
  name: string;
  /** What it shows, in one line; the picture's <title> and the alternative text in HTML and Markdown. */
  title: string;
  svg: string;
  /** The numbers in the picture. */
  csv: string;
}

export const FONT = 'Arial, Liberation Sans, DejaVu Sans, Helvetica, sans-serif';
export const INK = '#1a1a1a';
export const FAINT = '#5f5f5f';
const SIZE = 11;

/** Starts a figure of the given size in px; draw into the answer and call `finish`. */
export function canvas(width: number, height: number, title: string, description: string): Mark {
  const root: Mark = new D3Node().createSVG(width, height);
  root.attr('viewBox', `0 0 ${width} ${height}`).attr('role', 'img').attr('font-family', FONT);
  root.attr('font-size', SIZE).attr('fill', INK);
  root.append('title').text(title);
  root.append('desc').text(description);
  rect(root, 0, 0, width, height, '#ffffff');
  return root;
}

/** The SVG text, one mark per line for reviews in diffs. As XML: in HTML's form a “<” in a tip would break the file. */
export function finish(root: Mark): string {
  const node = root.node();
  const { XMLSerializer } = node.ownerDocument.defaultView;
  return `${new XMLSerializer().serializeToString(node).replaceAll('><', '>\n<')}\n`;
}

export const round = (value: number): number => Math.round(value * 100) / 100;

export function rect(into: Mark, x: number, y: number, width: number, height: number, fill: string): Mark {
  const mark = into.append('rect').attr('x', round(x)).attr('y', round(y));
  return mark.attr('width', round(width)).attr('height', round(height)).attr('fill', fill);
}

export function line(into: Mark, x1: number, y1: number, x2: number, y2: number, stroke: string, width = 1): Mark {
  const mark = into
    .append('line')
    .attr('x1', round(x1))
    .attr('y1', round(y1))
    .attr('x2', round(x2))
    .attr('y2', round(y2));
  return mark.attr('stroke', stroke).attr('stroke-width', width);
}

/** What a mark stands for: the report's hover, family highlight and language picker read these attributes. */
export interface Meaning {
  /** Language code, family, layer and expert that the mark shows, as far as it shows one. */
  language?: string;
  family?: string;
  layer?: number;
  expert?: number;
  /** What the hover says, with the value and its interval as a reader wants them. */
  tip?: string;
}

/** Adds `data-*` attributes to a mark; absent ones are left out. */
export function tag(mark: Mark, meaning: Meaning): Mark {
  for (const [name, value] of Object.entries(meaning)) if (value !== undefined) mark.attr(`data-${name}`, value);
  return mark;
}

export interface TextStyle {
  size?: number;
  fill?: string;
  anchor?: 'start' | 'middle' | 'end';
  weight?: 'normal' | 'bold';
  /** Degrees around the anchor point. */
  rotate?: number;
  /** Width of a white outline that keeps the words readable over ribbons. */
  halo?: number;
}

/** Text with its baseline at y. Default 11 px, start-anchored. */
export function text(into: Mark, x: number, y: number, words: string, style: TextStyle = {}): Mark {
  const { size = SIZE, fill = INK, anchor = 'start', weight = 'normal', rotate = 0, halo = 0 } = style;
  const mark = into.append('text').attr('x', round(x)).attr('y', round(y));
  if (size !== SIZE) mark.attr('font-size', size);
  if (fill !== INK) mark.attr('fill', fill);
  if (anchor !== 'start') mark.attr('text-anchor', anchor);
  if (weight !== 'normal') mark.attr('font-weight', weight);
  if (rotate !== 0) mark.attr('transform', `rotate(${rotate} ${round(x)} ${round(y)})`);
  if (halo > 0) mark.attr('stroke', '#ffffff').attr('stroke-width', halo).attr('stroke-linejoin', 'round');
  if (halo > 0) mark.attr('paint-order', 'stroke');
  return mark.text(words);
}

/** Breaks words into lines of at most `width` px, by a mean glyph width that fits the wider of the listed fonts. */
export function wrap(words: string, width: number, size = 11): string[] {
  const fits = Math.floor(width / (size * 0.56));
  const lines: string[] = [];
  for (const word of words.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= fits) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Paragraph; returns the y below its last line. */
export function paragraph(
  into: Mark,
  x: number,
  y: number,
  width: number,
  words: string,
  style: TextStyle = {},
): number {
  const { size = 11 } = style;
  const lines = wrap(words, width, size);
  for (const [i, words] of lines.entries()) text(into, x, y + i * size * 1.4, words, style);
  return y + lines.length * size * 1.4;
}

/** .123 → “12 %”, .004 → “0.4 %”, .0001 → “<0.1 %”: the places that matter, none invented. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.05) return '<0.1 %';
  return value > 0 && value < 0.95 ? `${value.toFixed(1)} %` : `${Math.round(value)} %`;
}

/** Moves ascending positions at least `gap` apart inside low…high, as little as one pass down and one pass up can. */
export function apart(positions: number[], gap: number, low: number, high: number): number[] {
  const places = [...positions];
  for (let i = 0; i < places.length; i++) places[i] = Math.max(places[i], i === 0 ? low : places[i - 1] + gap);
  for (let i = places.length - 1; i >= 0; i--) {
    places[i] = Math.min(places[i], i === places.length - 1 ? high : places[i + 1] - gap);
  }
  return places;
}
