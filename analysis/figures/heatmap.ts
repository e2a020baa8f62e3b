// F3, language × expert heat map of up to six MoE layers (ApolloMoE's Fig. 3 right, made readable): rows are
// languages by family, columns experts, in each layer in the order of the languages that use them, so that what
// belongs to a family stands below it. Cell: share of tokens that choose the expert (selection view, a row sums to k)
// or of weight (a row sums to 1).
import type { ColumnTable } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import {
  expertFamilies,
  expertLabel,
  familyHues,
  type Provenance,
  pickLayers,
  provenance,
  zeroTextNote,
} from './caption.ts';
import { cellPanel, cellRow, MOST_MARKS, shade } from './cells.ts';
import { emptyFrame, type FigureOptions, frame, SHEET } from './frame.ts';
import { grid, meanRow } from './grid.ts';
import { columnOrder, languageOrder } from './order.ts';
import { amount, EMPTY, inkOn, REST } from './palette.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, percent, rect, tag, text } from './svg.ts';

export interface HeatmapOptions extends FigureOptions {
  /** Layers drawn at most; the rest is in the CSV. Default 6. */
  mostLayers?: number;
}

const WIDTH = 1200;
const MARGIN = 16;
const PANEL_GAP = 24;
const FAMILY_GAP = 6;
/**
 * Narrowest and widest cell in px; from HEADED on a column carries its expert's name, from FIGURES on its cells
 * numbers.
 */
const CELL = { least: 4, headed: 9, figures: 22, most: 58 };
const ROW = { roomy: 17, tight: 10.5 };
/** A picture of several rows of panels is not made higher than this for wider cells. */
const TALL = 1300;
const HATCH = 'url(#heatmap-none)';

interface Row {
  language: TraceLanguage | null;
  label: string;
  family: number;
  y: number;
}
interface Plan {
  perRow: number;
  cell: number;
  pitch: number;
  left: number;
  head: number;
  rows: Row[];
  /** Height of a panel's rows. */
  height: number;
}
interface Panel {
  layer: number;
  values: Map<string, Float64Array | null>;
  order: number[];
  dead: Set<number>;
  x: number;
  y: number;
}

/** Draws a usage table (groups = language codes). The CSV holds every layer. */
export function heatmap(usage: ColumnTable, source: Provenance, options: HeatmapOptions): Figure {
  const { header } = source;
  const name = `heatmap-${options.view}`;
  const column = options.view === 'selection' ? 'tokenShare' : 'share';
  const layers = pickLayers(header.moeLayers, options.mostLayers ?? 6);
  const what = options.view === 'selection' ? 'share of tokens that choose each expert' : 'share of weight per expert';
  const title = `Which experts serve which language: ${what}`;
  const values = grid(usage, column, header.numExperts);
  const words = { title, reading: readingOf(header, options), caption: '' };
  const cut = `${cutOf(header, layers)} Point values without intervals. ${zeroTextNote(header)}`;
  words.caption = `${provenance(source, options.view, options.averaging)} ${cut}`.trim();
  const counted = layers.some(layer => [...(values.get(layer)?.values() ?? [])].some(row => row !== null));
  if (!counted) return { name, title, svg: finish(emptyFrame(words, NOTHING).root), csv: usage.toCSV() };

  const plan = planOf(languageOrder(usage, header), header, layers.length);
  const { perRow, cell, left, head, height } = plan;
  const panelRows = Math.ceil(layers.length / perRow);
  const across = perRow * cell * header.numExperts + (perRow - 1) * PANEL_GAP;
  const sheet = frame(
    Math.ceil(Math.max(SHEET, left + across + rightOf(cell, header))),
    panelRows * (head + height) + 44,
    words,
  );
  hatching(sheet.root);
  const panels = layers.map((layer, i): Panel => {
    const x = left + (i % perRow) * (cell * header.numExperts + PANEL_GAP);
    const y = sheet.top + head + Math.floor(i / perRow) * (head + height);
    return panelOf(layer, values.get(layer) ?? new Map(), plan.rows, header, x, y);
  });
  const top = Math.max(0.01, ...panels.flatMap(({ values }) => [...values.values()].flatMap(q => (q ? [...q] : []))));
  for (let i = 0; i < panelRows; i++) drawRowLabels(sheet.root, plan, panels[i * perRow].y, left + across, header);
  const single = layers.length * plan.rows.length * header.numExperts <= MOST_MARKS;
  for (const panel of panels) {
    drawHeads(sheet.root, panel, plan, header);
    if (single) drawCells(sheet.root, panel, plan, header, top, options);
    else drawRows(sheet.root, panel, plan, header, top);
  }
  drawLegend(sheet.root, left, sheet.bottom - 22, top, header);
  return { name, title, svg: finish(sheet.root), csv: usage.toCSV() };
}

const NOTHING = 'No token was counted in these layers, so no expert can be said to serve a language.';

function readingOf({ numExperts: E, expertsPerToken: k }: TraceHeader, { view }: HeatmapOptions): string {
  const sum = view === 'selection' ? `A token chooses ${k}, so a row sums to ${k * 100} %` : 'A row sums to 100 %';
  const uniform = percent((view === 'selection' ? k : 1) / E);
  return `The darker, the more. ${sum}; a router without preference would give ${uniform} everywhere.`;
}

function cutOf({ moeLayers, numExperts, ...header }: TraceHeader, drawn: number[]): string {
  const cut = drawn.length < moeLayers.length ? `${drawn.length} of ${moeLayers.length} MoE layers drawn. ` : '';
  const owned = expertFamilies({ moeLayers, numExperts, ...header }).every(family => family !== null);
  const order = owned
    ? 'as the languages that own them'
    : 'in each layer by who uses them, so a column is no fixed expert';
  return `${cut}Experts stand ${order}; languages by family, inside it by likeness in late layers.`;
}

/** Few wide panels or many narrow ones: the widest cells that keep the picture from growing too high. */
function planOf(languages: TraceLanguage[], header: TraceHeader, panels: number): Plan {
  const { numExperts: E } = header;
  const plans = Array.from({ length: panels }, (_, i) => panels - i).map(perRow => {
    const down = Math.ceil(panels / perRow);
    const pitch = down === 1 || languages.length <= 20 ? ROW.roomy : ROW.tight;
    const left = pitch === ROW.roomy ? 276 : 204;
    const room = (WIDTH - left - 2 * MARGIN - (perRow - 1) * PANEL_GAP) / perRow / E;
    const cell = Math.min(CELL.most, room >= 8 ? Math.floor(room) : Math.floor(room * 4) / 4);
    const rows = placeRows(languages, header, pitch);
    const height = rows.at(-1)!.y + pitch;
    return {
      perRow: Math.ceil(panels / down),
      cell,
      pitch,
      left,
      rows,
      height,
      head: headOf(cell, header) + (down > 1 ? 10 : 0),
    };
  });
  const total = ({ perRow, head, height }: Plan) => Math.ceil(panels / perRow) * (head + height);
  const fitting = plans.filter(plan => plan.cell >= CELL.least && total(plan) <= TALL);
  if (fitting.length > 0) return fitting.reduce((best, plan) => (plan.cell > best.cell ? plan : best));
  const wide = plans.filter(plan => total(plan) <= 1.6 * TALL);
  const last = wide.reduce((best, plan) => (plan.cell > best.cell ? plan : best), wide[0] ?? plans[0]);
  return { ...last, cell: Math.max(last.cell, CELL.least) };
}

/** Room above a panel: its title, and names of experts as steep as they have to be. */
function headOf(cell: number, header: TraceHeader): number {
  if (cell < CELL.headed) return 40;
  const longest = Math.max(...header.expertNames.map((_, e) => expertLabel(header, e).length));
  return 44 + longest * 6 * (cell >= 30 ? 0.62 : cell >= 14 ? 0.87 : 1);
}

/** Room right of a panel: the last name leans out of it. */
function rightOf(cell: number, header: TraceHeader): number {
  const label = expertLabel(header, header.numExperts - 1).length * 6;
  if (cell < CELL.headed) return MARGIN;
  return MARGIN + Math.max(0, label * (cell >= 30 ? 0.79 : cell >= 14 ? 0.5 : 0) - cell / 2);
}

/** Languages in family order, then one row for their mean; y from the panel's top. */
function placeRows(languages: TraceLanguage[], header: TraceHeader, pitch: number): Row[] {
  const families = familiesOf(header);
  const apart = families.length < languages.length ? FAMILY_GAP : 0;
  let y = 0;
  const rows = languages.map((language, i): Row => {
    const family = families.indexOf(language.family);
    if (i > 0) y += pitch + (languages[i - 1].family === language.family ? 0 : apart);
    return { language, label: language.name + (language.trainingBytes === 0 ? ' ‡' : ''), family, y };
  });
  return [...rows, { language: null, label: 'Mean of languages', family: -1, y: y + pitch + FAMILY_GAP }];
}

function panelOf(
  layer: number,
  rows: Map<string, Float64Array | null>,
  places: Row[],
  header: TraceHeader,
  x: number,
  y: number,
): Panel {
  const present = places.flatMap(({ language }) => rows.get(language?.code ?? '') ?? []);
  const mean = meanRow(present);
  const dead = new Set(mean ? [...mean.keys()].filter(e => mean[e] === 0) : []);
  const values = new Map([...rows, ['', mean] as [string, Float64Array | null]]);
  return { layer, values, order: expertOrder(present, places, header, dead), dead, x, y };
}

/** Owned experts stand as their languages do; others where the languages are that choose them more than others do. */
function expertOrder(present: Float64Array[], places: Row[], header: TraceHeader, dead: Set<number>): number[] {
  const ids = Array.from({ length: header.numExperts }, (_, e) => e);
  const owners = ids.map(e => places.findIndex(({ language }) => language?.expert === e));
  const first = (e: number) => (owners[e] < 0 ? places.length : owners[e]);
  if (expertFamilies(header).every(family => family !== null)) return ids.sort((a, b) => first(a) - first(b));
  const mean = meanRow(present);
  if (mean === null) return ids;
  // squares: where an expert is chosen twice as often as usual counts for more than where it is chosen as usual
  const lifts = present.map(row => row.map((share, e) => (mean[e] > 0 ? (share / mean[e]) ** 2 : 0)));
  const order = columnOrder(lifts);
  return [...order.filter(e => !dead.has(e)), ...order.filter(e => dead.has(e))];
}

function drawRowLabels(root: Mark, { rows, pitch, left }: Plan, top: number, right: number, header: TraceHeader): void {
  const roomy = pitch === ROW.roomy;
  const bar = roomy ? 118 : 92;
  for (const [family, name] of familiesOf(header).entries()) {
    const members = rows.filter(row => row.family === family);
    const [start, end] = [top + members[0].y, top + members.at(-1)!.y + pitch];
    rect(root, bar, start, 7, end - start - 1, familyHues(header)[family]);
    const below = rows[rows.indexOf(members.at(-1)!) + 1];
    const rule = top + (members.at(-1)!.y + pitch + below.y) / 2 - 0.5;
    if (rule > end - 0.5) line(root, bar, rule, right, rule, INK, 0.5);
    if (members.length === 1 && members[0].language?.name === name) continue;
    const style = { anchor: 'end' as const, size: roomy ? 12 : 9.5 };
    const middle = (start + end) / 2 + style.size * 0.34;
    const counted = roomy && members.length > 1;
    text(root, bar - 7, counted ? middle - 6 : middle, name, { ...style, weight: 'bold' });
    if (counted) text(root, bar - 7, middle + 7, `${members.length} languages`, { ...style, size: 10, fill: FAINT });
  }
  for (const { language, label, y } of rows) {
    const style = { anchor: 'end' as const, size: roomy ? 12 : 9.5 };
    const base = top + y + pitch / 2 + style.size * 0.32;
    text(root, left - (language ? (roomy ? 36 : 30) : 8), base, label, language ? style : { ...style, weight: 'bold' });
    if (language) text(root, left - 8, base, language.code, { ...style, size: style.size - 0.5, fill: FAINT });
  }
}

function drawHeads(root: Mark, { layer, order, dead, x, y }: Panel, { cell, head }: Plan, header: TraceHeader): void {
  const families = familiesOf(header);
  const owners = expertFamilies(header);
  const hues = familyHues(header);
  const width = cell * header.numExperts;
  text(root, x, y - head + 22, `Layer ${layer}`, { weight: 'bold', size: 13 });
  const count = `${header.numExperts} experts${dead.size > 0 ? `, ${dead.size} without a token` : ''}`;
  if (cell < CELL.headed) text(root, x + width, y - 10, count, { anchor: 'end', fill: FAINT });
  for (const [place, e] of order.entries()) {
    const left = x + place * cell;
    if (owners[e] !== null) rect(root, left, y - 8, cell - 1, 5, hues[families.indexOf(owners[e])]);
    if (cell >= CELL.headed) drawHead(root, left + cell / 2, y - 12, cell, expertLabel(header, e));
  }
}

/** An expert's name, steeper as columns get narrower; none below 9 px. */
function drawHead(root: Mark, x: number, y: number, cell: number, label: string): void {
  if (cell >= 30) text(root, x + 2, y, label, { rotate: -38 });
  else if (cell >= 14) text(root, x + 3, y, label, { rotate: -60 });
  else text(root, x + 3, y, label, { rotate: -90, size: 9.5 });
}

/** Rows of many cells: a few strokes each; what a row says is its three most used experts. */
function drawRows(
  root: Mark,
  { layer, values, order, dead, x, y }: Panel,
  plan: Plan,
  header: TraceHeader,
  top: number,
) {
  const { rows, cell, pitch, height } = plan;
  const panel = cellPanel(root, x, cell, pitch - 1, order);
  for (const { language, label, y: down } of rows) {
    const q = values.get(language?.code ?? '') ?? null;
    if (q === null) {
      rect(root, x, y + down, cell * header.numExperts - 1, pitch - 1, HATCH);
      continue;
    }
    const colours = order.map(e => (dead.has(e) ? null : amount(shade(q[e] / top))));
    const permille = order.map(e => Math.round(q[e] * 1000));
    const most = [...q.keys()].sort((a, b) => q[b] - q[a]).slice(0, 3);
    const told = most.map(e => `${expertLabel(header, e)} ${percent(q[e])}`).join(', ');
    const meaning = language ? { language: language.code, family: language.family } : {};
    tag(cellRow(panel, y + down + (pitch - 1) / 2, colours, permille), {
      ...meaning,
      layer,
      tip: `${label}, layer ${layer}: ${told}`,
    });
  }
  for (const [place, e] of order.entries()) if (dead.has(e)) rect(root, x + place * cell, y, cell, height - 1, HATCH);
}

function drawCells(
  root: Mark,
  { layer, values, order, dead, x, y }: Panel,
  { rows, cell, pitch, height }: Plan,
  header: TraceHeader,
  top: number,
  { view }: HeatmapOptions,
): void {
  const gap = cell >= CELL.headed ? 1 : 0;
  for (const { language, label, y: down } of rows) {
    const q = values.get(language?.code ?? '') ?? null;
    if (q === null) rect(root, x, y + down, cell * header.numExperts - 1, pitch - 1, HATCH);
    for (const [place, expert] of q === null ? [] : order.entries()) {
      if (dead.has(expert)) continue;
      const fill = amount(q![expert] / top);
      const mark = rect(root, x + place * cell, y + down, cell - gap, pitch - 1, fill);
      const words = `${percent(q![expert])} of ${view === 'selection' ? 'tokens' : 'weight'}`;
      const tip = `${label} → ${expertLabel(header, expert)}, layer ${layer}: ${words}`;
      tag(mark, { language: language?.code, family: language?.family, layer, expert, tip });
      if (cell >= CELL.figures) drawFigure(root, x + (place + 0.5) * cell - 0.5, y + down + 12, q![expert], fill);
      if (language?.expert !== expert || cell < CELL.headed) continue;
      outline(
        root,
        x + place * cell,
        y + down,
        cell - 1,
        pitch,
        familyHues(header)[familiesOf(header).indexOf(language.family)],
      );
    }
  }
  for (const [place, e] of order.entries())
    if (dead.has(e)) rect(root, x + place * cell, y, cell - gap, height - 1, HATCH);
}

function drawFigure(root: Mark, x: number, y: number, value: number, ground: string): void {
  const words = value > 0 && value < 0.005 ? '<1' : `${Math.round(value * 100)}`;
  text(root, x, y, words, { anchor: 'middle', fill: inkOn(ground) }).attr('pointer-events', 'none');
}

/** Family hue outside, white inside: seen on the lightest and on the darkest cell, in colour and in grey. */
function outline(root: Mark, x: number, y: number, width: number, pitch: number, hue: string): void {
  const frame = rect(root, x - 0.5, y - 0.5, width + 1, pitch, 'none').attr('stroke', hue);
  frame.attr('stroke-width', 2.2);
  const inner = rect(root, x + 1.4, y + 1.4, width - 2.8, pitch - 3.8, 'none').attr('stroke', '#FFFFFF');
  inner.attr('stroke-width', 0.9);
}

function hatching(root: Mark): void {
  const pattern = root.append('defs').append('pattern').attr('id', 'heatmap-none');
  pattern
    .attr('width', 6)
    .attr('height', 6)
    .attr('patternUnits', 'userSpaceOnUse')
    .attr('patternTransform', 'rotate(45)');
  rect(pattern, 0, 0, 6, 6, EMPTY);
  line(pattern, 0, 0, 0, 6, '#9A9A9A', 1.6);
}

function drawLegend(root: Mark, x: number, y: number, top: number, header: TraceHeader): void {
  const ramp = root.append('defs').append('linearGradient').attr('id', 'heatmap-ramp');
  for (let i = 0; i <= 10; i++)
    ramp
      .append('stop')
      .attr('offset', i / 10)
      .attr('stop-color', amount(i / 10));
  text(root, x, y + 10, '0 %');
  rect(root, x + 26, y, 160, 12, 'url(#heatmap-ramp)')
    .attr('stroke', FAINT)
    .attr('stroke-width', 0.5);
  text(root, x + 192, y + 10, percent(top));
  rect(root, x + 250, y - 1, 26, 14, HATCH);
  text(root, x + 282, y + 10, 'no token');
  if (!header.languages.some(language => language.expert >= 0)) return;
  rect(root, x + 352, y - 1, 26, 14, REST);
  outline(root, x + 352, y - 2, 26, 16, familyHues(header)[0]);
  text(root, x + 386, y + 10, 'own expert');
}
