// Language × expert heat map, MoE layers side by side (ApolloMoE's Fig. 3 right, made readable). Rows: languages grouped by
// family (hue band). Columns: experts, named by their family. Cell: share of tokens that choose the expert (selection view,
// a row sums to k) or share of gate weight (gate view, a row sums to 1). The language's own expert is outlined.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import type { View } from '../document-counts.ts';
import { pool } from '../pool.ts';
import { familiesOf } from '../table.ts';
import { type Averaging, shareRows } from '../usage.ts';
import { expertFamilies, familyHues, type Provenance, pickLayers, provenance, zeroTextNote } from './caption.ts';
import { amount, EMPTY, inkOn, REST } from './palette.ts';
import { canvas, FAINT, type Figure, finish, INK, line, type Mark, paragraph, percent, rect, text } from './svg.ts';

export interface HeatmapOptions {
  view: View;
  averaging: Averaging;
  /** Layers drawn at most; the rest is in the CSV. Default 6. */
  mostLayers?: number;
}

const ROW = 17;
const FAMILY_GAP = 7;
const LEFT = 276;
const TOP = 196;
const LAYER_GAP = 26;
const WIDTH = 1200;

interface Row {
  code: string;
  label: string;
  family: number;
  hue: string;
  own: number;
  y: number;
}

/** Draws a usage table (groups = language codes). The CSV holds every layer. */
export function heatmap(usage: ColumnTable, source: Provenance, options: HeatmapOptions): Figure {
  const { header } = source;
  const layers = pickLayers(header.moeLayers, options.mostLayers ?? 6);
  const column = options.view === 'selection' ? 'tokenShare' : 'share';
  const what =
    options.view === 'selection' ? 'share of tokens that choose each expert' : 'share of gate weight per expert';
  const title = `Which experts serve which language: ${what}, in %`;
  const cell = Math.max(
    5,
    Math.min(58, Math.floor((WIDTH - LEFT - 40) / layers.length - LAYER_GAP) / header.numExperts),
  );
  const width = Math.max(760, LEFT + layers.length * (cell * header.numExperts + LAYER_GAP) + 30);
  const rows = placeRows(header);
  const bottom = rows.at(-1)!.y + ROW;
  const root = canvas(Math.round(width), bottom + 104, title, provenance(source, options.view, options.averaging));
  paragraph(root, 16, 28, width - 32, title, { size: 17, weight: 'bold' });
  paragraph(root, 16, 50, width - 32, provenance(source, options.view, options.averaging), { fill: FAINT });

  hatching(root);
  drawRowLabels(root, rows, header);
  const all = pool(usage, header, 'all');
  const values = layers.map(layer => new Map([...shareRows(usage, layer, column), ...shareRows(all, layer, column)]));
  const top = Math.max(0.01, ...values.flatMap(map => [...map.values()].flatMap(q => (q ? [...q] : []))));
  for (const [i, layer] of layers.entries()) {
    const x = LEFT + i * (cell * header.numExperts + LAYER_GAP);
    drawHeads(root, header, layer, x, cell);
    for (const row of rows) drawCells(root, row, values[i].get(row.code) ?? null, x, cell, top, header.numExperts);
  }
  drawLegend(root, bottom + 28, width, top, header, options.view);
  const csv = usage.toCSV();
  return { name: `heatmap-${options.view}`, title, svg: finish(root), csv };
}

/** Languages in family order, then one row for the mean. */
function placeRows(header: TraceHeader): Row[] {
  const rows: Row[] = [];
  let y = TOP;
  const gap = familiesOf(header).length === header.languages.length ? 0 : FAMILY_GAP;
  for (const [family, name] of familiesOf(header).entries()) {
    const hue = familyHues(header)[family];
    for (const language of header.languages.filter(l => l.family === name)) {
      const mark = language.trainingBytes === 0 ? ' ‡' : '';
      rows.push({ code: language.code, label: language.name + mark, family, hue, own: language.expert, y });
      y += ROW;
    }
    y += gap;
  }
  return [...rows, { code: 'all', label: 'Mean of languages', family: -1, hue: INK, own: -1, y: y + 2 }];
}

function drawRowLabels(root: Mark, rows: Row[], header: TraceHeader): void {
  for (const [family, name] of familiesOf(header).entries()) {
    const members = rows.filter(row => row.family === family);
    const height = members.length * ROW;
    rect(root, 118, members[0].y, 7, height - 1, familyHues(header)[family]);
    if (members.length === 1 && members[0].label.replace(' ‡', '') === name) continue;
    const middle = members[0].y + height / 2;
    text(root, 111, middle + (members.length > 1 ? -2 : 3), name, { anchor: 'end', weight: 'bold', size: 12 });
    if (members.length > 1)
      text(root, 111, middle + 11, `${members.length} languages`, { anchor: 'end', size: 10, fill: FAINT });
  }
  for (const row of rows) {
    const weight = row.code === 'all' ? 'bold' : 'normal';
    const end = row.code === 'all' ? LEFT - 8 : LEFT - 36;
    text(root, end, row.y + 12.5, row.label, { anchor: 'end', size: 12, weight });
    if (row.code !== 'all') text(root, LEFT - 8, row.y + 12.5, row.code, { anchor: 'end', size: 10.5, fill: FAINT });
  }
}

function drawHeads(root: Mark, header: TraceHeader, layer: number, x: number, cell: number): void {
  const families = familiesOf(header);
  const owners = expertFamilies(header);
  const hues = familyHues(header);
  const width = cell * header.numExperts;
  text(root, x, 96, `Layer ${layer}`, { weight: 'bold', size: 14 });
  line(root, x, 102, x + width - 2, 102, INK, 0.8);
  for (let e = 0; e < header.numExperts; e++) {
    const owner = owners[e];
    const left = x + e * cell;
    rect(root, left, TOP - 10, cell - 1, 6, owner === null ? REST : hues[families.indexOf(owner)]);
    drawHead(root, left + cell / 2, cell, e, header.expertNames[e]);
  }
}

/** An expert's name, steeper as columns get narrower; none below 9 px. */
function drawHead(root: Mark, x: number, cell: number, expert: number, name: string): void {
  if (cell >= 30) text(root, x + 4, TOP - 15, `${expert} ${name}`, { rotate: -38 });
  else if (cell >= 14) text(root, x + 4, TOP - 15, `${expert} ${name}`, { rotate: -60 });
  else if (cell >= 9) text(root, x + 3, TOP - 14, name, { rotate: -90, size: 9.5 });
}

function drawCells(
  root: Mark,
  row: Row,
  q: Float64Array | null,
  x: number,
  cell: number,
  top: number,
  E: number,
): void {
  if (q === null) {
    rect(root, x, row.y, cell * E - 1, ROW - 1, 'url(#heatmap-none)');
    return;
  }
  for (const [e, value] of q.entries()) {
    const fill = amount(value / top);
    rect(root, x + e * cell, row.y, cell - 1, ROW - 1, fill);
    if (cell >= 22) {
      const words = value > 0 && value < 0.005 ? '<1' : `${Math.round(value * 100)}`;
      text(root, x + e * cell + (cell - 1) / 2, row.y + 12, words, { anchor: 'middle', size: 11, fill: inkOn(fill) });
    }
    if (e !== row.own) continue;
    outline(root, x + e * cell, row.y, cell - 1, row.hue);
  }
}

/** Family hue outside, white inside: seen on the lightest and on the darkest cell, in colour and in grey. */
function outline(root: Mark, x: number, y: number, width: number, hue: string): void {
  const frame = rect(root, x - 0.5, y - 0.5, width + 1, ROW, 'none').attr('stroke', hue);
  frame.attr('stroke-width', 2.2);
  const inner = rect(root, x + 1.4, y + 1.4, width - 2.8, ROW - 3.8, 'none').attr('stroke', '#FFFFFF');
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

function drawLegend(root: Mark, y: number, width: number, top: number, header: TraceHeader, view: View): void {
  const ramp = root.append('defs').append('linearGradient').attr('id', 'heatmap-ramp');
  for (let i = 0; i <= 10; i++)
    ramp
      .append('stop')
      .attr('offset', i / 10)
      .attr('stop-color', amount(i / 10));
  rect(root, LEFT, y, 200, 12, 'url(#heatmap-ramp)').attr('stroke', FAINT).attr('stroke-width', 0.5);
  text(root, LEFT, y + 26, '0 %');
  text(root, LEFT + 200, y + 26, percent(top), { anchor: 'end' });
  outline(root, LEFT + 236, y - 2, 28, familyHues(header)[0]);
  text(root, LEFT + 270, y + 10, 'own expert');
  rect(root, LEFT + 350, y - 1, 26, 14, 'url(#heatmap-none)');
  text(root, LEFT + 384, y + 10, 'no token counted');
  const k = header.expertsPerToken;
  const sum =
    view === 'selection' ? `A token chooses ${k} experts, so a row sums to ${k * 100} %` : 'A row sums to 100 %';
  const uniform = view === 'selection' ? k / header.numExperts : 1 / header.numExperts;
  const note = `${sum}; a router without preference would give ${percent(uniform)} everywhere. ${zeroTextNote(header)}`;
  paragraph(root, 16, y + 52, width - 32, note, { fill: FAINT });
}
