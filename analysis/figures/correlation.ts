// F13, correlation over languages: a dot per language, x a routing measure, y a score. Glyph and hue are the family,
// the label is the language's code. r with its interval over languages is computed by the measure and only written
// here.
import type { ColumnTable } from 'arquero';
import { bottomAxis, leftAxis, linear, type Plot } from './axes.ts';
import { type Provenance, zeroTextNote } from './caption.ts';
import { type FamilyStyle, familyGlyph, familyStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { decimal, signed, textWidth, withInterval } from './labels.ts';
import { nameOf } from './profiles.ts';
import { FAINT, type Figure, finish, line, type Mark, tag, text } from './svg.ts';

export interface CorrelationOptions extends FigureOptions {
  /** What the axes show, as a reader wants it: “divergence from English, middle layers”. */
  x: string;
  y: string;
  /** Pearson's r with its interval over languages, and Spearman's; by default r alone is computed. */
  r?: { pearson: number; low: number | null; high: number | null; spearman: number | null };
}
interface Dot {
  group: string;
  family: string;
  x: number;
  y: number;
}
interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const LEFT = 64;
const RIGHT = 566;
const HEIGHT = 400;
const RADIUS = 4;
const LABEL = 10.5;

/** Draws a correlation table. Languages without one of the two values are left out and counted in the caption. */
export function correlation(table: ColumnTable, source: Provenance, options: CorrelationOptions): Figure {
  const rows = table.objects() as Dot[];
  const dots = rows.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y) && x !== null && y !== null);
  const left = rows.length - dots.length;
  const cut = left > 0 ? `${left} of ${rows.length} languages lack one of the two values.` : '';
  const words = {
    title: titleOf(dots, options),
    reading: 'A dot is a language. Glyph and colour: its family.',
    caption: captionOf(
      source,
      options,
      null,
      `${intervalNote(dots, options)} ${cut} ${zeroTextNote(source.header)}`.trim(),
    ),
  };
  const figure = { name: 'correlation', title: words.title, csv: table.toCSV() };
  if (dots.length < 2) {
    const there = dots.length === 1 ? 'is one' : 'is none';
    const why = `A correlation over languages needs at least two with both values; there ${there}.`;
    return { ...figure, svg: finish(emptyFrame(words, why).root) };
  }
  const sheet = frame(SHEET, HEIGHT + 62, words);
  const plot = { left: LEFT, right: RIGHT, top: sheet.top + 8, bottom: sheet.top + 8 + HEIGHT };
  drawDots(sheet.root, dots, source, options, plot);
  return { ...figure, svg: finish(sheet.root) };
}

function titleOf(dots: Dot[], { x, y, r }: CorrelationOptions): string {
  const pearson = r?.pearson ?? pearsonOf(dots);
  const capital = `${y[0].toUpperCase()}${y.slice(1)}`;
  if (pearson === null) return `${capital} against ${x}`;
  return `${capital} against ${x}: r = ${withInterval(pearson, r?.low, r?.high, signed)}`;
}

function intervalNote(dots: Dot[], { r }: CorrelationOptions): string {
  const rank = r?.spearman == null ? '' : `Spearman ${signed(r.spearman)}. `;
  const interval = r?.low == null ? 'No interval of r was given.' : 'Interval of r: 95 %, over languages.';
  return `${rank}${interval} n = ${dots.length}.`;
}

/** Pearson's r; null where one side does not vary. */
function pearsonOf(dots: Dot[]): number | null {
  const mean = (key: 'x' | 'y') => dots.reduce((sum, dot) => sum + dot[key], 0) / dots.length;
  const [mx, my] = [mean('x'), mean('y')];
  const sum = (of: (dot: Dot) => number) => dots.reduce((total, dot) => total + of(dot), 0);
  const spread = Math.sqrt(sum(({ x }) => (x - mx) ** 2) * sum(({ y }) => (y - my) ** 2));
  return spread > 0 ? sum(({ x, y }) => (x - mx) * (y - my)) / spread : null;
}

function drawDots(root: Mark, dots: Dot[], { header }: Provenance, options: CorrelationOptions, plot: Plot): void {
  const span = (key: 'x' | 'y'): [number, number] => {
    const values = dots.map(dot => dot[key]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)];
  };
  const x = linear(span('x'), [plot.left, plot.right]);
  const y = linear(span('y'), [plot.bottom, plot.top]);
  leftAxis(root, plot, y, { title: options.y, format: decimal, count: 6 });
  bottomAxis(root, plot, x, { title: options.x, format: decimal, count: 6 });
  const styles = new Map(familyStyles(header).map(style => [style.family, style]));
  const fallback = familyStyles(header)[0];
  const places = dots.map(dot => ({ ...dot, px: x(dot.x), py: y(dot.y), style: styles.get(dot.family) ?? fallback }));
  const taken = places.map(({ px, py }) => boxAround(px, py, 2 * RADIUS, 2 * RADIUS));
  for (const [i, place] of places.entries()) placeLabel(root, place.group, place.px, place.py, taken, i, plot);
  for (const { px, py, style, group, family, ...values } of places) {
    const tip = `${nameOf(header, group)}: ${options.x} ${decimal(values.x)}, ${options.y} ${decimal(values.y)}`;
    tag(familyGlyph(root, px, py, style, RADIUS), { language: group, family, tip });
  }
  const present = new Set(places.map(({ style }) => style));
  drawKey(root, [...present], dots, plot);
}

const boxAround = (x: number, y: number, width: number, height: number): Box => ({
  x: x - width / 2,
  y: y - height / 2,
  width,
  height,
});
const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/** Writes a code where it covers least, near its dot before far; a code further off is tied to its dot. */
function placeLabel(root: Mark, code: string, x: number, y: number, taken: Box[], own: number, plot: Plot): void {
  const width = textWidth(code, LABEL) + 2;
  const tries = [0, 9, 18, 28].flatMap(far =>
    [0, 180, 45, 135, -45, -135, 90, -90].map(degrees => {
      const [dx, dy] = [Math.cos((degrees * Math.PI) / 180), -Math.sin((degrees * Math.PI) / 180)];
      const across = RADIUS + 3 + width / 2 + far;
      const box = boxAround(x + dx * across, y + dy * (RADIUS + 6 + far), width, LABEL);
      const out =
        box.x < plot.left || box.x + box.width > plot.right || box.y < plot.top || box.y + LABEL > plot.bottom;
      const covered = taken.reduce((sum, other, i) => sum + (i === own ? 0 : overlap(box, other)), 0);
      return { box, far, cost: covered + (out ? 1e3 : 0) + far * 0.4 };
    }),
  );
  const { box, far } = tries.reduce((a, b) => (b.cost < a.cost - 1e-9 ? b : a));
  taken.push(box);
  const middle = box.x + box.width / 2;
  if (far > 0) line(root, x, y, middle, box.y + LABEL / 2, '#9A9A9A', 0.6);
  text(root, middle, box.y + LABEL - 1.8, code, { anchor: 'middle', size: LABEL, halo: 2 });
}

function drawKey(root: Mark, styles: FamilyStyle[], dots: Dot[], plot: Plot): void {
  const sorted = styles.sort((a, b) => b.languages.length - a.languages.length);
  for (const [i, style] of sorted.entries()) {
    const y = plot.top + 10 + i * 21;
    const n = dots.filter(dot => dot.family === style.family).length;
    tag(familyGlyph(root, plot.right + 22, y, style, RADIUS + 0.5), { family: style.family });
    text(root, plot.right + 34, y + 4, style.family);
    text(root, SHEET - 6, y + 4, `${n}`, { anchor: 'end', fill: FAINT, size: SMALL });
  }
}
