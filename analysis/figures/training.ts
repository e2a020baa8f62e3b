// Routing over training: left, how many tokens choose their language's own expert (one line per MoE layer); right, the
// load of each expert in the last MoE layer. From the exact counts of each recorded step.
import type { ColumnTable } from 'arquero';
import { scaleLinear } from 'd3-scale';
import { familiesOf } from '../table.ts';
import { expertFamilies, familyHues, type Provenance, pickLayers } from './caption.ts';
import { REST } from './palette.ts';
import {
  apart,
  canvas,
  FAINT,
  type Figure,
  finish,
  INK,
  line,
  type Mark,
  paragraph,
  percent,
  round,
  text,
} from './svg.ts';

interface Row {
  step: number;
  layer: number;
  own: number;
  expert: number;
  load: number;
}
interface Line {
  label: string;
  colour: string;
  dash?: string;
  points: { step: number; value: number }[];
}
const WIDTH = 1100;
const HEIGHT = 400;
const TOP = 108;
const BOTTOM = 340;
const DASHES = ['', '6 3', '2 3', '9 3 2 3', '1 2', '12 4'];

/** Draws a table from trajectory.ts. Needs at least two steps; answers null with fewer. */
export function training(table: ColumnTable, source: Provenance): Figure | null {
  const rows = table.objects() as Row[];
  const steps = [...new Set(rows.map(row => row.step))];
  if (steps.length < 2) return null;
  const { header } = source;
  const title = 'How routing changes over training';
  const words =
    `View: selection; all tokens, pooled in a language; languages count equally. Model ${header.model}, run ${header.run}; ` +
    `${steps.length} recorded steps.`;
  const root = canvas(WIDTH, HEIGHT, title, words);
  paragraph(root, 16, 28, WIDTH - 32, title, { size: 17, weight: 'bold' });
  paragraph(root, 16, 50, WIDTH - 32, words, { fill: FAINT });
  const layers = pickLayers(header.moeLayers, DASHES.length);
  const own = layers.map((layer, i) => ownLine(rows, layer, i));
  const uniform = header.expertsPerToken / header.numExperts;
  panel(root, 64, 380, steps, own, { value: uniform, label: 'chance' }, 'Tokens that choose their own expert');
  const load = header.expertNames.map((name, e) => loadLine(rows, source, e, name));
  const last = header.moeLayers.at(-1);
  const even = { value: 1 / header.numExperts, label: 'even' };
  panel(root, 620, 320, steps, load, even, `Load of each expert in layer ${last}`);
  return { name: 'routing-over-training', title, svg: finish(root), csv: table.toCSV() };
}

function ownLine(rows: Row[], layer: number, i: number): Line {
  const points = rows
    .filter(row => row.layer === layer && row.expert === 0)
    .map(row => ({ step: row.step, value: row.own }));
  return { label: `layer ${layer}:`, colour: INK, dash: DASHES[i], points };
}

function loadLine(rows: Row[], { header }: Provenance, expert: number, name: string): Line {
  const owner = expertFamilies(header)[expert];
  const colour = owner === null ? REST : familyHues(header)[familiesOf(header).indexOf(owner)];
  const mine = rows.filter(row => row.layer === header.moeLayers.at(-1) && row.expert === expert);
  return { label: name, colour, points: mine.map(row => ({ step: row.step, value: row.load })) };
}

function panel(
  root: Mark,
  left: number,
  width: number,
  steps: number[],
  lines: Line[],
  reference: { value: number; label: string },
  title: string,
): void {
  const highest = Math.max(reference.value, ...lines.flatMap(({ points }) => points.map(p => p.value)));
  const x = scaleLinear([steps[0], steps.at(-1)!], [left, left + width]);
  const y = scaleLinear([0, highest], [BOTTOM, TOP]).nice(4);
  text(root, left, TOP - 18, title, { size: 13, weight: 'bold' });
  for (const tick of y.ticks(4)) {
    line(root, left, y(tick), left + width, y(tick), '#DDDDDD', 0.8);
    text(root, left - 8, y(tick) + 4, percent(tick), { anchor: 'end', size: 12 });
  }
  for (const tick of x.ticks(5)) text(root, x(tick), BOTTOM + 20, `${tick}`, { anchor: 'middle', size: 12 });
  text(root, left + width / 2, BOTTOM + 40, 'training step', { anchor: 'middle', size: 12 });
  line(root, left, y(reference.value), left + width, y(reference.value), '#8C8C8C', 1).attr('stroke-dasharray', '3 4');
  const ends = [{ label: reference.label, y: y(reference.value), colour: FAINT }];
  for (const { label, colour, dash, points } of lines) {
    const path = points.map((p, i) => `${i ? 'L' : 'M'}${round(x(p.step))},${round(y(p.value))}`).join('');
    const mark = root
      .append('path')
      .attr('d', path)
      .attr('fill', 'none')
      .attr('stroke', colour)
      .attr('stroke-width', 2);
    if (dash) mark.attr('stroke-dasharray', dash);
    ends.push({ label: `${label} ${percent(points.at(-1)!.value)}`, y: y(points.at(-1)!.value), colour });
  }
  labelEnds(root, left + width, ends);
}

/** Labels at the line ends, pushed apart to 15 px and tied to their line by a thin stroke. */
function labelEnds(root: Mark, x: number, ends: { label: string; y: number; colour: string }[]): void {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  const places = apart(
    sorted.map(end => end.y),
    15,
    TOP,
    BOTTOM,
  );
  for (const [i, end] of sorted.entries()) {
    line(root, x + 2, end.y, x + 18, places[i], end.colour, 1);
    text(root, x + 22, places[i] + 4, end.label, { size: 12, fill: end.colour === FAINT ? FAINT : INK });
  }
}
