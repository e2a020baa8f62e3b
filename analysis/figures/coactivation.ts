// F11, co-activation matrix: log2 of how much more often two experts are chosen for the same token than their loads
// suggest (M12, lift), diverging around 0. Only experts above an even load, seriated so that those who meet stand
// together; the stripes beside them tell which family uses them most compared with the others.
import { type ColumnTable, from } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { familyHues, type Provenance, pickLayers } from './caption.ts';
import { cellPanel, cellRow, MOST_MARKS, SHADES } from './cells.ts';
import { familyKey, familyKeyHeight } from './family-key.ts';
import { familyStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { decimal, signed, withInterval } from './labels.ts';
import { chainOrder } from './order.ts';
import { difference, EMPTY, inkOn, REST } from './palette.ts';
import { FAINT, type Figure, finish, line, type Mark, rect, tag, text } from './svg.ts';

export interface CoactivationOptions extends FigureOptions {
  /** Layers drawn at most. Default 6. */
  mostLayers?: number;
}

interface Pair {
  layer: number;
  a: number;
  b: number;
  logLift: number | null;
  low?: number | null;
  high?: number | null;
}
interface Panel {
  layer: number;
  /** Experts in drawn order. */
  order: number[];
  pairs: Map<number, Pair>;
  families: (string | null)[];
  x: number;
  y: number;
  cell: number;
}

const MARGIN = 16;
const LABELS = 30;
const GAP = 22;
const HEAD = 38;
const WIDEST_CELL = 34;
const STRIPE = 5;
/** Columns at least this wide carry numbers. */
const NUMBERED = 10;
const FIGURES = 26;
const FURTHEST = 3;

/** Draws the M12 table; loads and families of the experts come from the M9 table. */
export function coactivationPicture(
  pairs: ColumnTable,
  universality: ColumnTable,
  source: Provenance,
  options: CoactivationOptions,
): Figure {
  const { header } = source;
  const panels = panelsOf(pairs, universality, header, options.mostLayers ?? 6);
  const drawn = panels.flatMap(panel => [...panel.pairs.values()].filter(pair => pair.a < pair.b));
  const reach = reachOf(drawn);
  const words = wordsOf(panels, drawn, source, options);
  const csv = from(
    drawn.map(({ layer, a, b, logLift, low, high }) => {
      return { layer, a, b, log2Lift: logLift, low: low ?? null, high: high ?? null };
    }),
  ).toCSV();
  const name = 'coactivation';
  if (drawn.every(({ logLift }) => logLift === null)) {
    const why =
      header.expertsPerToken === 1
        ? 'A token chooses one expert here, so no two are chosen together.'
        : 'No two experts that carry more than an even load were chosen.';
    return { name, title: words.title, svg: finish(emptyFrame(words, why).root), csv };
  }
  const across = Math.min(3, panels.length);
  const room = (SHEET - 2 * MARGIN - across * LABELS - (across - 1) * GAP) / across;
  for (const panel of panels) panel.cell = Math.min(WIDEST_CELL, room / panel.order.length);
  const down = Array.from({ length: Math.ceil(panels.length / across) }, (_, i) =>
    panels.slice(i * across, (i + 1) * across),
  );
  const styles = familyStyles(header).filter(({ family }) => panels.some(panel => panel.families.includes(family)));
  const key = familyKeyHeight(styles, SHEET - 2 * MARGIN);
  const heights = down.map(list => HEAD + Math.max(...list.map(({ cell, order }) => cell * order.length)) + GAP);
  const sheet = frame(SHEET, heights.reduce((a, b) => a + b, 0) + 38 + key, words);
  const single = panels.reduce((sum, { order }) => sum + order.length ** 2, 0) <= MOST_MARKS;
  for (const [i, list] of down.entries()) {
    for (const [j, panel] of list.entries()) {
      panel.x = MARGIN + LABELS + j * (room + LABELS + GAP);
      panel.y = sheet.top + HEAD + heights.slice(0, i).reduce((a, b) => a + b, 0);
      drawHead(sheet.root, panel, header);
      if (single) drawCells(sheet.root, panel, header, reach);
      else drawRows(sheet.root, panel, header, reach);
    }
  }
  drawKey(sheet.root, sheet.bottom - key - 28, reach);
  familyKey(sheet.root, { x: MARGIN, y: sheet.bottom - key + 14, width: SHEET - 2 * MARGIN }, styles, 'swatch');
  return { name, title: words.title, svg: finish(sheet.root), csv };
}

/** The busy experts of each layer, in order; layers without two are left out. */
function panelsOf(pairs: ColumnTable, universality: ColumnTable, header: TraceHeader, most: number): Panel[] {
  const even = header.expertsPerToken / header.numExperts;
  const experts = universality.objects() as { layer: number; expert: number; load: number; family: string | null }[];
  const rows = pairs.objects() as Pair[];
  const layers = [...new Set(rows.map(row => row.layer))];
  return pickLayers(layers, most).flatMap(layer => {
    const busy = experts.filter(row => row.layer === layer && row.load > even);
    if (busy.length < 2) return [];
    const place = new Map(busy.map(({ expert }, i) => [expert, i]));
    const likeness = busy.map(() => new Float64Array(busy.length));
    const found = new Map<number, Pair>();
    for (const pair of rows) {
      const [i, j] = [place.get(pair.a), place.get(pair.b)];
      if (pair.layer !== layer || i === undefined || j === undefined) continue;
      found.set(pair.a * header.numExperts + pair.b, pair);
      likeness[i][j] = Math.max(-FURTHEST, Math.min(FURTHEST, pair.logLift ?? 0));
    }
    const order = chainOrder(likeness).map(i => busy[i]);
    const [ids, families] = [order.map(row => row.expert), order.map(row => row.family)];
    return [{ layer, order: ids, families, pairs: found, x: 0, y: 0, cell: 0 }];
  });
}

/**
 * End of the colour scale in log2: nine of ten pairs fit, in halves, from 1 to 3; a pair that never meets is far
 * beyond.
 */
function reachOf(pairs: Pair[]): number {
  const sizes = pairs.flatMap(({ logLift }) => (logLift === null ? [] : [Math.abs(logLift)])).sort((a, b) => a - b);
  const size = sizes[Math.floor(0.9 * (sizes.length - 1))] ?? 1;
  return Math.min(FURTHEST, Math.max(1, Math.ceil(2 * size) / 2));
}

function wordsOf(panels: Panel[], drawn: Pair[], source: Provenance, options: CoactivationOptions) {
  const { moeLayers, numExperts } = source.header;
  const last = panels.at(-1);
  const mine = drawn.filter(pair => pair.layer === last?.layer && pair.logLift !== null);
  const sure = (pair: Pair) => pair.low ?? pair.logLift!;
  const first = mine.reduce<Pair | null>((best, pair) => (best && sure(best) >= sure(pair) ? best : pair), null);
  const often = first ? decimal(2 ** first.logLift!, 1) : '';
  const title = first
    ? `Experts ${first.a} and ${first.b} of layer ${first.layer} meet ${often} times as often as by chance`
    : 'Which experts are chosen together';
  const many = panels.map(panel => panel.order.length);
  const range = Math.min(...many) === Math.max(...many) ? `${many[0]}` : `${Math.min(...many)} to ${Math.max(...many)}`;
  const cut = [
    panels.length < moeLayers.length ? `${panels.length} of ${moeLayers.length} MoE layers` : '',
    panels.length > 0 ? `${range} of ${numExperts} experts in each: those above an even load` : '',
  ].filter(part => part !== '');
  const reading =
    'Purple: two experts are chosen for the same token more often than their loads suggest, orange: less often. ' +
    'Stripes: the family that uses an expert most compared with the others.';
  const hasInterval = drawn.some(pair => pair.low != null);
  const drawnWords = cut.length > 0 ? `Drawn: ${cut.join(', ')}, in each layer in an order of its own.` : '';
  return { title, reading, caption: captionOf(source, options, hasInterval, drawnWords) };
}

function drawHead(root: Mark, { layer, order, families, x, y, cell }: Panel, header: TraceHeader): void {
  text(root, x, y - 24, `Layer ${layer}`, { weight: 'bold', size: 12 });
  const hues = familyHues(header);
  const widest = 7 * Math.max(...order.map(expert => `${expert}`.length));
  for (const [i, expert] of order.entries()) {
    const family = familiesOf(header).indexOf(families[i] ?? '');
    const hue = family < 0 ? REST : hues[family];
    const middle = (i + 0.5) * cell;
    rect(root, x + i * cell, y - STRIPE - 1, cell, STRIPE, hue);
    tag(rect(root, x - STRIPE - 1, y + i * cell, STRIPE, cell, hue), {
      family: families[i] ?? undefined,
      layer,
      expert,
    });
    if (cell < NUMBERED) continue;
    text(root, x - STRIPE - 4, y + middle + 3.6, `${expert}`, { anchor: 'end', size: SMALL });
    if (cell >= widest) text(root, x + middle, y - STRIPE - 4, `${expert}`, { anchor: 'middle', size: SMALL });
  }
}

const pairOf = ({ pairs }: Panel, header: TraceHeader, a: number, b: number) => pairs.get(a * header.numExperts + b);

function drawCells(root: Mark, panel: Panel, header: TraceHeader, reach: number): void {
  const { layer, order, x, y, cell } = panel;
  for (const [i, a] of order.entries()) {
    for (const [j, b] of order.entries()) {
      const pair = pairOf(panel, header, a, b);
      const value = pair?.logLift ?? null;
      const fill = a === b || value === null ? EMPTY : difference(value / reach);
      const mark = rect(root, x + j * cell, y + i * cell, cell - 1, cell - 1, fill);
      if (a === b || value === null) continue;
      const often = withInterval(2 ** value, power(pair?.low), power(pair?.high), v => decimal(v, 2));
      tag(mark, { layer, tip: `experts ${a} and ${b}, layer ${layer}: ${often} times chance` });
      if (cell < FIGURES) continue;
      text(root, x + (j + 0.5) * cell - 0.5, y + (i + 0.5) * cell + 3, signed(value, 1), {
        anchor: 'middle',
        size: SMALL,
        fill: inkOn(fill),
      }).attr('pointer-events', 'none');
    }
  }
}

const power = (value: number | null | undefined) => (value == null ? null : 2 ** value);

function drawRows(root: Mark, panel: Panel, header: TraceHeader, reach: number): void {
  const { layer, order, families, x, y, cell } = panel;
  const group = cellPanel(root, x, cell, cell, order);
  for (const [i, a] of order.entries()) {
    const values = order.map(b => (a === b ? null : (pairOf(panel, header, a, b)?.logLift ?? null)));
    const colours = values.map(value =>
      value === null ? EMPTY : difference(Math.round((value / reach) * SHADES) / SHADES),
    );
    const known = order.filter((_, j) => values[j] !== null);
    const value = (b: number) => values[order.indexOf(b)]!;
    const most = known.sort((b, c) => value(c) - value(b)).slice(0, 3);
    const told = most.map(b => `${b} (${decimal(2 ** value(b), 1)} ×)`).join(', ');
    const row = cellRow(
      group,
      y + (i + 0.5) * cell,
      colours,
      values.map(v => (v === null ? null : Math.round(v * 1000))),
    );
    tag(row, {
      family: families[i] ?? undefined,
      layer,
      expert: a,
      tip: `expert ${a}, layer ${layer}: meets most ${told}`,
    });
  }
}

function drawKey(root: Mark, y: number, reach: number): void {
  const ramp = root.append('defs').append('linearGradient').attr('id', 'coactivation-ramp');
  for (let i = 0; i <= 10; i++)
    ramp
      .append('stop')
      .attr('offset', i / 10)
      .attr('stop-color', difference(i / 5 - 1));
  const x = MARGIN + LABELS + 76;
  text(root, x - 8, y + 10, `${decimal(2 ** -reach, 2)} × or less`, { anchor: 'end' });
  rect(root, x, y, 180, 12, 'url(#coactivation-ramp)').attr('stroke', FAINT).attr('stroke-width', 0.5);
  line(root, x + 90, y - 3, x + 90, y + 15, FAINT, 0.8);
  text(root, x + 90, y + 27, 'as by chance', { anchor: 'middle', fill: FAINT });
  text(root, x + 188, y + 10, `${decimal(2 ** reach, 1)} × or more`);
}
