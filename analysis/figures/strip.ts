// F4, the whole model in one strip: layers from left to right, languages by family from top to bottom, colour = how
// far a language's routing stands from the pivot's (M4: Jensen–Shannon distance, less its distance from itself). Above
// it the mean over languages, so that a U or a late rise is seen before any cell is read.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import { layerAxis, layerPlace, leftAxis, linear, type Plot } from './axes.ts';
import { type Provenance, zeroTextNote } from './caption.ts';
import { byDepth } from './depth.ts';
import { type FamilyStyle, languageStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { decimal, withInterval } from './labels.ts';
import { amount, EMPTY, inkOn } from './palette.ts';
import { byFamily, layersIn, meanProfile, nameOf, type Profile, profilesOf } from './profiles.ts';
import { type Point, polyline } from './shapes.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, rect, round, tag, text } from './svg.ts';

export interface StripOptions extends FigureOptions {
  /** Code of the language that the others are compared with. */
  pivot: string;
  /** `excess` (default where the table has it) or plain `distance`. */
  value?: 'excess' | 'distance';
}

interface Row {
  code: string;
  label: string;
  style: FamilyStyle;
  y: number;
}
interface Values {
  shown: Map<string, Profile>;
  low: Map<string, Profile>;
  high: Map<string, Profile>;
  distance: Map<string, Profile>;
}
const LEFT = 214;
const RIGHT = 700;
const MEAN = 64;
const FAMILY_GAP = 4;
const HATCH = 'url(#strip-none)';

/** Draws a divergence table (groups = language codes). */
export function strip(table: ColumnTable, source: Provenance, options: StripOptions): Figure {
  const { header } = source;
  const layers = layersIn(table);
  const excess = profilesOf(table, 'excess', layers);
  const has = [...excess.values()].some(profile => profile.some(v => v !== null));
  const value = options.value ?? (has ? 'excess' : 'distance');
  const columns = ['low', 'high', 'distance'].map(name => profilesOf(table, name, layers));
  const values: Values = {
    shown: profilesOf(table, value, layers),
    low: columns[0],
    high: columns[1],
    distance: columns[2],
  };
  const others = [...values.shown].filter(([code]) => code !== options.pivot).map(([, profile]) => profile);
  const mean = meanProfile(others, layers.length);
  const words = wordsOf(source, options, layers, mean, value, columns[0]);
  const figure = { name: 'strip', title: words.title, csv: table.toCSV() };
  if (mean.every(v => v === null)) {
    const pivot = nameOf(header, options.pivot);
    const why = `No language could be compared with ${pivot}: at least two languages with counted tokens are needed.`;
    return { ...figure, svg: finish(emptyFrame(words, why).root) };
  }
  const height = header.languages.length > 24 ? 11.5 : 18;
  const room = header.languages.length * height + gapOf(header) * new Set(header.languages.map(l => l.family)).size;
  const sheet = frame(SHEET, MEAN + room + 100, words);
  const plot = { left: LEFT, right: RIGHT, top: sheet.top + MEAN + 28, bottom: sheet.top + MEAN + 28 + room };
  const rows = placeRows(header, plot, height);
  const top = Math.max(1e-6, ...others.flatMap(profile => profile.map(v => v ?? 0)));
  drawMean(sheet.root, mean, layers, { ...plot, top: sheet.top + 12, bottom: sheet.top + 12 + MEAN });
  hatching(sheet.root);
  drawLabels(sheet.root, rows, height, options.pivot);
  for (const row of rows) drawRow(sheet.root, row, values, layers, plot, { height, top, pivot: options.pivot });
  layerAxis(sheet.root, plot, layers);
  drawLegend(sheet.root, plot.bottom + 42, top, value);
  return { ...figure, svg: finish(sheet.root) };
}

function wordsOf(
  source: Provenance,
  options: StripOptions,
  layers: number[],
  mean: Profile,
  value: 'excess' | 'distance',
  low: Map<string, Profile>,
) {
  const { header } = source;
  const pivot = nameOf(header, options.pivot);
  const told = byDepth(header, layers, mean, decimal);
  const beyond = value === 'excess' ? ', less the distance between two halves of the same language’s texts' : '';
  const hasInterval = [...low.values()].some(profile => profile.some(v => v !== null));
  return {
    title: told === '' ? `Routing distance from ${pivot}` : `Routing distance from ${pivot}: ${told}`,
    reading:
      'A row is a language, a column a layer; the darker, the further its choice of experts is from ' +
      `${pivot}’s${beyond}. Above: the mean.`,
    caption: captionOf(source, options, hasInterval, `Jensen–Shannon distance, 0 to 1. ${zeroTextNote(header)}`.trim()),
  };
}

const gapOf = (header: TraceHeader): number =>
  new Set(header.languages.map(l => l.family)).size === header.languages.length ? 0 : FAMILY_GAP;

function placeRows(header: TraceHeader, plot: Plot, height: number): Row[] {
  const styles = languageStyles(header);
  let y = plot.top;
  let before = '';
  return byFamily(header).map(({ code, name, family, trainingBytes }) => {
    if (before !== '' && before !== family) y += gapOf(header);
    before = family;
    const row = { code, label: `${name}${trainingBytes === 0 ? ' ‡' : ''}`, style: styles.get(code)!, y };
    y += height;
    return row;
  });
}

function drawLabels(root: Mark, rows: Row[], height: number, pivot: string): void {
  for (const style of new Set(rows.map(row => row.style))) {
    const members = rows.filter(row => row.style === style);
    const tall = members.length * height;
    rect(root, 112, members[0].y, 6, tall - 1, style.hue);
    const name = style.family === members[0].label ? '' : style.family;
    text(root, 106, members[0].y + tall / 2 + 4, name, { anchor: 'end', weight: 'bold', size: SMALL });
  }
  for (const { code, label, y } of rows) {
    const weight = code === pivot ? 'bold' : 'normal';
    const words = code === pivot ? `${label} (pivot)` : label;
    text(root, LEFT - 6, y + height / 2 + 3.6, words, { anchor: 'end', size: SMALL, weight });
  }
}

function drawRow(
  root: Mark,
  { code, label, style, y }: Row,
  values: Values,
  layers: number[],
  plot: Plot,
  { height, top, pivot }: { height: number; top: number; pivot: string },
): void {
  const pitch = (plot.right - plot.left) / layers.length;
  const gap = pitch > 14 ? 1 : 0.5;
  const shown = values.shown.get(code) ?? layers.map(() => null);
  if (code === pivot || shown.every(v => v === null)) {
    const fill = code === pivot ? '#FFFFFF' : HATCH;
    const mark = rect(root, plot.left, y, plot.right - plot.left - gap, height - gap, fill);
    const tip = code === pivot ? `${label}: the others are compared with it` : `${label}: no token counted`;
    tag(mark, { language: code, family: style.family, tip });
    if (code === pivot) line(root, plot.left, y + height / 2, plot.right, y + height / 2, FAINT, 0.8);
    return;
  }
  for (const [i, layer] of layers.entries()) {
    const value = shown[i];
    const x = plot.left + i * pitch;
    const fill = value === null ? HATCH : amount(Math.max(value, 0) / top);
    const mark = rect(root, x, y, pitch - gap, height - gap, fill);
    const of = (profiles: Map<string, Profile>) => profiles.get(code)?.[i] ?? null;
    const distance = of(values.distance);
    const told = distance === null ? 'no value' : `distance ${withInterval(distance, of(values.low), of(values.high))}`;
    const tip = value === null || value === distance ? told : `${told}, ${decimal(value)} beyond its own`;
    tag(mark, { language: code, family: style.family, layer, tip: `${label}, layer ${layer}: ${tip}` });
    if (pitch < 30 || value === null) continue;
    const words = decimal(value);
    text(root, x + (pitch - gap) / 2, y + height / 2 + 3.5, words, { anchor: 'middle', fill: inkOn(fill) });
  }
}

function drawMean(root: Mark, mean: Profile, layers: number[], plot: Plot): void {
  const x = layerPlace(plot, mean.length);
  const highest = Math.max(...mean.map(v => v ?? 0), 1e-6);
  const y = linear([Math.min(0, ...mean.map(v => v ?? 0)), highest], [plot.bottom, plot.top]);
  leftAxis(root, plot, y, { format: decimal, count: 2 });
  text(root, plot.left - 40, (plot.top + plot.bottom) / 2, 'mean of', { anchor: 'end', size: SMALL, fill: FAINT });
  text(root, plot.left - 40, (plot.top + plot.bottom) / 2 + 14, 'languages', {
    anchor: 'end',
    size: SMALL,
    fill: FAINT,
  });
  polyline(
    root,
    mean.map((v, i): Point => [x(i), v === null ? null : y(v)]),
    INK,
    2,
  );
  for (const [i, v] of mean.entries()) {
    if (v === null) continue;
    const mark = root
      .append('circle')
      .attr('cx', round(x(i)))
      .attr('cy', round(y(v)))
      .attr('r', mean.length > 12 ? 1.8 : 3);
    tag(mark, { layer: layers[i], tip: `layer ${layers[i]}: ${decimal(v)}, mean of languages` });
  }
}

function hatching(root: Mark): void {
  const pattern = root.append('defs').append('pattern').attr('id', 'strip-none').attr('width', 6).attr('height', 6);
  pattern.attr('patternUnits', 'userSpaceOnUse').attr('patternTransform', 'rotate(45)');
  rect(pattern, 0, 0, 6, 6, EMPTY);
  line(pattern, 0, 0, 0, 6, '#9A9A9A', 1.6);
}

function drawLegend(root: Mark, y: number, top: number, value: 'excess' | 'distance'): void {
  const ramp = root.append('defs').append('linearGradient').attr('id', 'strip-ramp');
  for (let i = 0; i <= 10; i++) {
    const stop = ramp.append('stop').attr('offset', i / 10);
    stop.attr('stop-color', amount(i / 10));
  }
  rect(root, LEFT, y, 160, 11, 'url(#strip-ramp)').attr('stroke', FAINT).attr('stroke-width', 0.5);
  text(root, LEFT - 6, y + 9.5, value === 'excess' ? '0 or less' : '0', { anchor: 'end' });
  text(root, LEFT + 166, y + 9.5, decimal(top));
  rect(root, LEFT + 230, y - 1, 26, 13, HATCH);
  text(root, LEFT + 262, y + 9.5, 'no token counted');
}
