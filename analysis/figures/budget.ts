// F1, the routing budget (M5) over depth: what decides the expert, to log E. Above, the whole: unused, shared, and
// language, which hangs from the top, split into what the family tells and what the language adds. Below, the language
// part enlarged, with its corrected value, 95 % interval, and how far it would reach if languages were shuffled. Few
// layers are bars with their numbers; many are areas, straight between layers.
import type { ColumnTable } from 'arquero';
import { layerAxis, layerPlace, leftAxis, linear, type Plot, type Scale } from './axes.ts';
import type { Provenance } from './caption.ts';
import { byDepth, meanOf, verdictWords } from './depth.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { endLabels, withInterval } from './labels.ts';
import { band, type Point, polyline } from './shapes.ts';
import { apart, FAINT, type Figure, finish, INK, line, type Mark, percent, rect, round, tag, text } from './svg.ts';

export interface BudgetOptions extends FigureOptions {
  /** The verdict on late spread, which then opens the title. */
  verdict?: string;
}

/** A row of the information table, nats; the last six are absent or null where nothing was resampled. */
interface Row {
  layer: number;
  total: number;
  unused: number;
  shared: number;
  language: number;
  family: number;
  withinFamily: number;
  languages: number;
  families: number;
  estimate?: number | null;
  low?: number | null;
  high?: number | null;
  nullMean?: number | null;
}
type Key = 'unused' | 'shared' | 'family' | 'withinFamily';
interface Part {
  key: Key;
  fill: string;
  label: string;
  meaning: string;
}
const UNUSED: Part = { key: 'unused', fill: '#8C8C8C', label: 'Unused', meaning: 'lost to uneven load' };
const SHARED: Part = { key: 'shared', fill: '#E9E4D4', label: 'Shared', meaning: 'choice free of language' };
const FAMILY: Part = { key: 'family', fill: '#56B4E9', label: 'Family', meaning: 'what the family tells' };
const LANGUAGE: Part = {
  key: 'withinFamily',
  fill: '#0072B2',
  label: 'Language',
  meaning: 'what it adds to its family',
};

const LEFT = 62;
const RIGHT = 516;
const WHOLE = 216;
const ENLARGED = 150;
/** Up to so many layers are bars. */
const MOST_BARS = 8;

/** Draws a table from information.ts; throws nothing, also for one layer or one language. */
export function budget(table: ColumnTable, source: Provenance, options: BudgetOptions): Figure {
  const rows = table.objects() as Row[];
  const hasInterval = rows.some(row => row.low != null);
  const words = {
    title: titleOf(rows, source, options),
    reading: readingOf(rows),
    caption: captionOf(source, options, hasInterval, cut(rows, source)),
  };
  const figure = { name: 'budget', title: words.title, csv: table.toCSV() };
  if (rows.length === 0) {
    return { ...figure, svg: finish(emptyFrame(words, 'No token was counted, so there is no budget to split.').root) };
  }
  const enlarged = rows[0].languages > 1;
  const sheet = frame(SHEET, WHOLE + (enlarged ? ENLARGED + 116 : 52), words);
  const parts = partsOf(rows[0]);
  const whole = { left: LEFT, right: RIGHT, top: sheet.top + 14, bottom: sheet.top + 14 + WHOLE };
  drawWhole(sheet.root, rows, parts, whole);
  const top = whole.bottom + 64;
  const lower = { left: LEFT, right: RIGHT, top, bottom: top + ENLARGED };
  if (enlarged) drawEnlarged(sheet.root, rows, parts, lower);
  hovers(sheet.root, rows, { ...whole, bottom: enlarged ? lower.bottom : whole.bottom });
  return { ...figure, svg: finish(sheet.root) };
}

/** Corrected language information where it is known, in nats. */
const value = (row: Row): number => Math.max(row.estimate ?? row.language, 0);

function titleOf(rows: Row[], { header }: Provenance, { verdict }: BudgetOptions): string {
  if (rows.length === 0) return 'Routing budget: nothing was counted';
  if (rows[0].languages < 2) return 'Routing budget of one language: no other to tell it from';
  const layers = rows.map(row => row.layer);
  const shares = rows.map(row => value(row) / row.total);
  const said = `anguage decides ${byDepth(header, layers, shares, percent, ' of routing')}`;
  return verdict ? `${verdictWords(verdict)}: l${said}` : `L${said}`;
}

function readingOf(rows: Row[]): string {
  const noise = meanOf(rows.map(row => (row.nullMean == null ? null : row.nullMean / row.total)));
  const chance = noise === null ? '' : ` By chance it would be ${percent(noise)}.`;
  return (
    'Height: log E, all that could decide which expert a token gets. The top part is what its language decides: ' +
    `a top that grows to the right is routing that parts by language in the end.${chance}`
  );
}

function cut(rows: Row[], { header }: Provenance): string {
  const dense = header.numLayers - header.moeLayers.length;
  const height = rows.length > 0 ? `Full height: log ${header.numExperts} = ${rows[0].total.toFixed(2)} nats.` : '';
  return dense > 0 ? `${height} The other ${dense} of ${header.numLayers} layers are dense: no router.` : height;
}

/** From the bottom up; a part that is nothing by construction is left out. */
function partsOf({ languages, families }: Row): Part[] {
  const alone = { label: 'Language', meaning: 'what the language tells' };
  if (families <= 1) return [UNUSED, SHARED, { ...LANGUAGE, ...alone }];
  if (families === languages) return [UNUSED, SHARED, { ...FAMILY, fill: LANGUAGE.fill, ...alone }];
  return [UNUSED, SHARED, FAMILY, LANGUAGE];
}

function drawWhole(root: Mark, rows: Row[], parts: Part[], plot: Plot): void {
  const y = linear([0, 1], [plot.bottom, plot.top]);
  leftAxis(root, plot, y, { title: 'share of log E', format: percent });
  layerAxis(
    root,
    plot,
    rows.map(row => row.layer),
    'MoE layer',
  );
  const tops = stack(rows, parts);
  drawStack(root, rows, parts, tops, plot, y);
  const edge = (nats: number | null | undefined, row: Row) => (nats == null ? null : y(1 - nats / row.total));
  drawInterval(
    root,
    plot,
    rows.map(row => edge(row.low, row)),
    rows.map(row => edge(row.high, row)),
    INK,
  );
  drawKey(root, rows, parts, tops, plot, y);
}

/** tops[p][i]: share of log E below the upper edge of part p in row i. */
function stack(rows: Row[], parts: Part[]): number[][] {
  const sum = rows.map(() => 0);
  return parts.map(({ key }) => rows.map((row, i) => (sum[i] += Math.max(row[key], 0) / row.total)));
}

function drawStack(
  root: Mark,
  rows: Row[],
  parts: Part[],
  tops: number[][],
  plot: Plot,
  y: Scale,
  clear: (number | null)[] = [],
): void {
  const places = edges(plot, rows.length);
  for (const [p, part] of parts.entries()) {
    const lower = p === 0 ? rows.map(() => y.domain()[0]) : tops[p - 1];
    if (rows.length > MOST_BARS) {
      const at = (shares: number[]) => places.map(({ x, i }): Point => [x, y(shares[i])]);
      band(root, at(tops[p]), at(lower), part.fill).attr('stroke', '#FFFFFF').attr('stroke-width', 0.7);
    } else drawBars(root, rows, part, { upper: tops[p], lower, clear }, plot, y);
  }
}

/** Places of the layers, with the plot's own edges at both ends. */
function edges(plot: Plot, count: number): { x: number; i: number }[] {
  const x = layerPlace(plot, count);
  const inside = Array.from({ length: count }, (_, i) => ({ x: x(i), i }));
  return [{ x: plot.left, i: 0 }, ...inside, { x: plot.right, i: count - 1 }];
}

const barWidth = (plot: Plot, count: number): number => Math.min(110, (0.64 * (plot.right - plot.left)) / count);

function drawBars(
  root: Mark,
  rows: Row[],
  part: Part,
  { upper, lower, clear }: { upper: number[]; lower: number[]; clear: (number | null)[] },
  plot: Plot,
  y: Scale,
): void {
  const x = layerPlace(plot, rows.length);
  const width = barWidth(plot, rows.length);
  for (const [i, row] of rows.entries()) {
    const height = y(lower[i]) - y(upper[i]);
    const mark = rect(root, x(i) - width / 2, y(upper[i]), width, height, part.fill);
    mark.attr('stroke', '#FFFFFF').attr('stroke-width', 0.7);
    const middle = (y(upper[i]) + y(lower[i])) / 2;
    if (width < 36 || height < 14 || Math.abs((clear[i] ?? Infinity) - middle) < 9) continue;
    const fill = part.key === 'shared' ? INK : part.fill === FAMILY.fill ? '#000000' : '#FFFFFF';
    const share = percent(Math.max(row[part.key], 0) / row.total);
    text(root, x(i), middle + 4, share, { anchor: 'middle', fill });
  }
}

/** Whiskers on bars, a lightened band between thin lines on areas. */
function drawInterval(root: Mark, plot: Plot, low: (number | null)[], high: (number | null)[], colour: string): void {
  const x = layerPlace(plot, low.length);
  if (low.length > MOST_BARS) {
    const at = (values: (number | null)[]) => edges(plot, low.length).map(({ x, i }): Point => [x, values[i]]);
    band(root, at(high), at(low), '#FFFFFF', 0.6);
    for (const edge of [at(low), at(high)]) polyline(root, edge, colour, 0.7);
    return;
  }
  for (const [i, from] of low.entries()) {
    const to = high[i];
    if (from === null || to === null) continue;
    const middle = x(i) + barWidth(plot, low.length) / 2 + 6;
    line(root, middle, from, middle, to, colour, 1.6);
    for (const end of [from, to]) line(root, middle - 3.5, end, middle + 3.5, end, colour, 1.6);
  }
}

/** Names of the parts beside the last layer, in their order, with its values. */
function drawKey(root: Mark, rows: Row[], parts: Part[], tops: number[][], plot: Plot, y: Scale): void {
  const last = rows.length - 1;
  const middles = parts.map((_, p) => y(((p === 0 ? 0 : tops[p - 1][last]) + tops[p][last]) / 2));
  const places = apart([...middles].reverse(), 36, plot.top + 8, plot.bottom - 20).reverse();
  for (const [p, { key, fill, label, meaning }] of parts.entries()) {
    line(root, plot.right + 2, middles[p], plot.right + 18, places[p], FAINT, 0.8);
    rect(root, plot.right + 20, places[p] - 6, 12, 12, fill);
    const share = `${percent(Math.max(rows[last][key], 0) / rows[last].total)} in layer ${rows[last].layer}`;
    text(root, plot.right + 38, places[p] + 4, `${label} · ${share}`, { weight: 'bold' });
    text(root, plot.right + 38, places[p] + 17, meaning, { fill: FAINT, size: SMALL });
  }
}

function drawEnlarged(root: Mark, rows: Row[], parts: Part[], plot: Plot): void {
  const mine = parts.filter(({ key }) => key === 'family' || key === 'withinFamily');
  const share = (nats: number | null | undefined, row: Row) => (nats == null ? null : Math.max(nats, 0) / row.total);
  const reach = rows.flatMap(row =>
    [row.language, row.high ?? 0, row.nullMean ?? 0, value(row)].map(v => v / row.total),
  );
  const y = linear([0, Math.max(...reach, 1e-4) * 1.04], [plot.bottom, plot.top]);
  text(root, plot.left, plot.top - 12, 'The language part, enlarged', { weight: 'bold', size: 12 });
  const fine = y.domain()[1] < 0.04 ? 1 : 0;
  leftAxis(root, plot, y, { title: 'share of log E', format: v => (v === 0 ? '0 %' : `${(v * 100).toFixed(fine)} %`) });
  layerAxis(
    root,
    plot,
    rows.map(row => row.layer),
  );
  const place = (v: number | null) => (v === null ? null : y(v));
  const noise = rows.map(row => place(share(row.nullMean, row)));
  drawStack(root, rows, mine, stack(rows, mine), plot, y, noise);
  const lows = rows.map(row => place(share(row.low, row)));
  const highs = rows.map(row => place(share(row.high, row)));
  drawInterval(root, plot, lows, highs, INK);
  drawEstimate(root, plot, rows, y);
}

/** Corrected value and shuffled languages as lines over areas, as marks on bars, each named at the end. */
function drawEstimate(root: Mark, plot: Plot, rows: Row[], y: Scale): void {
  const x = layerPlace(plot, rows.length);
  const lines = [
    { values: rows.map(row => row.estimate), label: 'corrected for bias', dash: '', width: 2 },
    { values: rows.map(row => row.nullMean), label: 'if languages were shuffled', dash: '4 3', width: 1.6 },
  ];
  const ends = lines.flatMap(({ values, label, dash, width }) => {
    const shares = values.map((v, i) => (v == null ? null : Math.max(v, 0) / rows[i].total));
    const last = shares.at(-1);
    if (rows.length > MOST_BARS) {
      const places = edges(plot, rows.length).map(({ x, i }): Point => [x, shares[i] === null ? null : y(shares[i])]);
      if (dash !== '') polyline(root, places, '#FFFFFF', width + 2);
      polyline(root, places, INK, width, dash);
    } else drawMarks(root, shares, x, barWidth(plot, rows.length) / 2 + 6, y, dash);
    return last == null ? [] : [{ label: `${percent(last)} ${label}`, y: y(last), colour: INK }];
  });
  endLabels(root, plot.right, ends, plot.top, plot.bottom, 16);
}

/** Beside a bar: a dot right of it for the corrected value, two strokes left and right for the shuffled one. */
function drawMarks(
  root: Mark,
  shares: (number | null)[],
  x: (i: number) => number,
  side: number,
  y: Scale,
  dash: string,
): void {
  for (const [i, share] of shares.entries()) {
    if (share === null) continue;
    if (dash === '')
      root
        .append('circle')
        .attr('cx', round(x(i)) + side)
        .attr('cy', round(y(share)))
        .attr('r', 3);
    else line(root, x(i) - side - 6, y(share), x(i) + side - 8, y(share), INK, 1.6).attr('stroke-dasharray', dash);
  }
}

/** Invisible columns that tell a layer's numbers. */
function hovers(root: Mark, rows: Row[], plot: Plot): void {
  const x = layerPlace(plot, rows.length);
  const pitch = (plot.right - plot.left) / rows.length;
  for (const [i, row] of rows.entries()) {
    const share = (nats: number) => percent(Math.max(nats, 0) / row.total);
    const noise = row.nullMean == null ? '' : `, ${share(row.nullMean)} if languages were shuffled`;
    const tip =
      `layer ${row.layer}: language ${withInterval(value(row), row.low, row.high, share)}${noise}; ` +
      `shared ${share(row.shared)}, unused ${share(row.unused)}`;
    const mark = rect(root, x(i) - pitch / 2, plot.top, pitch, plot.bottom - plot.top, '#FFFFFF');
    tag(mark.attr('fill-opacity', 0), { layer: row.layer, tip });
  }
}
