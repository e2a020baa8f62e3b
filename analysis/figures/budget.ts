// The routing budget (M5) as stacked bars, one per MoE layer, to log E: unused, shared, language (split into what the
// family tells and what the language adds). The claim of late language routing is the top of the bar growing with depth.
import { type ColumnTable, from } from 'arquero';
import type { View } from '../document-counts.ts';
import type { Budget } from '../information.ts';
import type { LanguageNull } from '../null.ts';
import type { Averaging } from '../usage.ts';
import { type Provenance, provenance } from './caption.ts';
import { canvas, FAINT, type Figure, finish, INK, line, type Mark, paragraph, percent, rect, text } from './svg.ts';

type Part = 'unused' | 'shared' | 'family' | 'withinFamily';
const PARTS: { key: Part; fill: string; label: string; meaning: string }[] = [
  { key: 'withinFamily', fill: '#0072B2', label: 'Language', meaning: 'what the language tells beyond its family' },
  { key: 'family', fill: '#56B4E9', label: 'Family', meaning: 'what the language family tells about the expert' },
  { key: 'shared', fill: '#E9E4D4', label: 'Shared', meaning: 'choice that is free of language' },
  { key: 'unused', fill: '#8C8C8C', label: 'Unused', meaning: 'lost to uneven load' },
];
const WIDTH = 900;
const HEIGHT = 446;
const PLOT = { left: 70, top: 92, right: 520, bottom: 350 };

/** Draws a table from information.ts; marks beside a bar show how far the language part would reach with shuffled languages. */
export function budget(
  table: ColumnTable,
  nulls: LanguageNull[],
  source: Provenance,
  view: View,
  averaging: Averaging,
): Figure {
  const rows = table.objects() as (Budget & { layer: number })[];
  const title = 'What decides the expert: routing budget per MoE layer';
  const words = provenance(source, view, averaging);
  const root = canvas(WIDTH, HEIGHT, title, words);
  paragraph(root, 16, 28, WIDTH - 32, title, { size: 17, weight: 'bold' });
  paragraph(root, 16, 50, WIDTH - 32, words, { fill: FAINT });
  const total = Math.log(source.header.numExperts);
  const y = (nats: number) => PLOT.bottom - (nats / total) * (PLOT.bottom - PLOT.top);
  drawAxis(root, y, total);
  const pitch = (PLOT.right - PLOT.left) / Math.max(rows.length, 1);
  const bar = Math.min(110, pitch * 0.6);
  for (const [i, row] of rows.entries()) {
    const x = PLOT.left + (i + 0.5) * pitch;
    drawBar(root, row, x - bar / 2, bar, y);
    const noise = nulls.find(({ layer }) => layer === row.layer)?.mean;
    if (noise !== undefined) ticks(root, x - bar / 2, x + bar / 2, y(total - noise));
    const every = Math.ceil(rows.length / 16);
    if (i % every === 0) text(root, x, PLOT.bottom + 18, `${row.layer}`, { anchor: 'middle', size: 12 });
  }
  const { moeLayers, numLayers, numExperts } = source.header;
  const dense = numLayers - moeLayers.length;
  text(root, (PLOT.left + PLOT.right) / 2, PLOT.bottom + 38, 'MoE layer', { anchor: 'middle', size: 12 });
  const note = `Height: log ${numExperts} = ${total.toFixed(2)} nats.`;
  const rest = dense > 0 ? ` The other ${dense} of ${numLayers} layers are dense and have no router.` : '';
  paragraph(root, 16, HEIGHT - 26, WIDTH - 32, note + rest, { fill: FAINT });
  drawKey(root, rows.at(-1), nulls.at(-1));
  return { name: 'budget', title, svg: finish(root), csv: withNull(table, nulls).toCSV() };
}

function drawAxis(root: Mark, y: (nats: number) => number, total: number): void {
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    line(root, PLOT.left - 4, y(share * total), PLOT.right, y(share * total), '#DDDDDD', 0.8);
    text(root, PLOT.left - 8, y(share * total) + 4, percent(share), { anchor: 'end', size: 12 });
  }
  const middle = (PLOT.top + PLOT.bottom) / 2;
  text(root, 20, middle, 'share of log E', { anchor: 'middle', size: 12, rotate: -90 });
}

function drawBar(root: Mark, row: Budget, x: number, width: number, y: (nats: number) => number): void {
  let below = 0;
  for (const { key, fill } of [...PARTS].reverse()) {
    const value = Math.max(row[key], 0);
    const [top, bottom] = [y(below + value), y(below)];
    rect(root, x, top, width, bottom - top, fill)
      .attr('stroke', '#FFFFFF')
      .attr('stroke-width', 0.8);
    const ink = key === 'withinFamily' || key === 'unused' ? '#FFFFFF' : INK;
    if (width >= 44 && bottom - top >= 15) {
      text(root, x + width / 2, (top + bottom) / 2 + 4, percent(value / row.total), {
        anchor: 'middle',
        size: 12,
        fill: ink,
      });
    }
    below += value;
  }
}

/** Two marks beside the bar, clear of the figures in it. */
function ticks(root: Mark, left: number, right: number, y: number): void {
  line(root, left - 11, y, left - 1, y, INK, 2);
  line(root, right + 1, y, right + 11, y, INK, 2);
}

function withNull(table: ColumnTable, nulls: LanguageNull[]): ColumnTable {
  if (nulls.length === 0) return table;
  return table.join_left(from(nulls).rename({ mean: 'nullMean', p: 'nullP', draws: 'nullDraws' }), 'layer');
}

/** Key beside the bars, in their order, with the last layer's values. */
function drawKey(root: Mark, last: (Budget & { layer: number }) | undefined, noise: LanguageNull | undefined): void {
  const x = PLOT.right + 40;
  for (const [i, { key, fill, label, meaning }] of PARTS.entries()) {
    const y = PLOT.top + 12 + i * 58;
    rect(root, x, y, 18, 18, fill);
    const value = last ? ` · ${percent(Math.max(last[key], 0) / last.total)} in layer ${last.layer}` : '';
    text(root, x + 28, y + 9, label + value, { size: 13, weight: 'bold' });
    text(root, x + 28, y + 25, meaning, { size: 12, fill: FAINT });
  }
  if (!noise || !last) return;
  const y = PLOT.top + 12 + PARTS.length * 58;
  line(root, x + 4, y + 8, x + 14, y + 8, INK, 2);
  text(root, x + 28, y + 9, `Noise · ${percent(noise.mean / last.total)} in layer ${last.layer}`, {
    size: 13,
    weight: 'bold',
  });
  text(root, x + 28, y + 25, 'family + language if languages were shuffled', { size: 12, fill: FAINT });
}
