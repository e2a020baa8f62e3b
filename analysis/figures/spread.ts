// F2, the test of late spread as a forest: a row per model, seed or control, a column per contrast of D = I(Λ;E) / log
// n between depth bands, each a dot with its 95 % interval against a zero line. Late spread holds where both late
// columns lie right of zero; the grey rows say how much of it an untrained router, or token identity alone, would
// show.
import type { ColumnTable } from 'arquero';
import { GRID, linear, type Scale } from './axes.ts';
import type { Provenance } from './caption.ts';
import { verdictWords } from './depth.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { signed, withInterval } from './labels.ts';
import { drawGlyph, drawHollow, type Glyph } from './shapes.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, rect, tag, text } from './svg.ts';

export interface SpreadOptions extends FigureOptions {
  /** The verdict, which then opens the title. */
  verdict?: string;
}
type Kind = 'trained' | 'seed' | 'untrained' | 'lexical' | 'same-script';
type Contrast = 'index' | 'late-early' | 'late-middle' | 'early-middle';
interface Row {
  label: string;
  kind: Kind;
  contrast: Contrast;
  estimate: number | null;
  low: number | null;
  high: number | null;
}

const UNKNOWN = { estimate: null, low: null, high: null };

const COLUMNS: { contrast: Contrast; head: string; under: string }[] = [
  { contrast: 'index', head: 'Index', under: 'late − larger other' },
  { contrast: 'late-early', head: 'Late − early', under: '> 0: part of the claim' },
  { contrast: 'late-middle', head: 'Late − middle', under: '> 0: part of the claim' },
  { contrast: 'early-middle', head: 'Early − middle', under: '> 0 as well: a U' },
];
const LOOKS: Record<Kind, { glyph: Glyph; size: number; hollow: boolean; colour: string; note: string }> = {
  trained: { glyph: 'circle', size: 4, hollow: false, colour: '#0072B2', note: 'as trained' },
  seed: { glyph: 'circle', size: 3.4, hollow: false, colour: '#0072B2', note: 'over training seeds' },
  untrained: { glyph: 'circle', size: 4, hollow: true, colour: '#777777', note: 'router drawn anew, untrained' },
  lexical: { glyph: 'diamond', size: 4, hollow: true, colour: '#777777', note: 'given the token id' },
  'same-script': { glyph: 'square', size: 4, hollow: true, colour: '#777777', note: 'languages of one script' },
};
const KINDS = Object.keys(LOOKS) as Kind[];
const LEFT = 168;
const RIGHT = 706;
const NUMBER = 38;
const GAP = 12;
const ROW = 22;

/** Draws a spread table; rows of one label stand on one line, trained models first. */
export function spread(table: ColumnTable, source: Provenance, options: SpreadOptions): Figure {
  const rows = (table.objects() as Partial<Row>[]).map((row): Row => ({ ...UNKNOWN, ...row }) as Row);
  const told = rows.filter(row => row.estimate !== null && Number.isFinite(row.estimate));
  const hasInterval = told.some(row => row.low !== null);
  const words = {
    title: titleOf(told, options),
    reading:
      'Differences between depth bands in how much of a token’s language one routing choice gives away (D, 0 to 1). ' +
      'Late spread: both late columns lie right of zero. Grey: what controls show.',
    caption: captionOf(source, options, hasInterval, bandsNote(source)),
  };
  const figure = { name: 'spread', title: words.title, csv: table.toCSV() };
  if (told.length === 0) {
    const why =
      'The test of late spread could not be made: it needs MoE layers early and late, ' +
      'and two languages with counted tokens.';
    return { ...figure, svg: finish(emptyFrame(words, why).root) };
  }
  const lines = linesOf(rows);
  const top = 48;
  const sheet = frame(SHEET, top + lines.length * ROW + 34, words);
  const reach = told.flatMap(row => [row.estimate!, row.low ?? row.estimate!, row.high ?? row.estimate!, 0]);
  const span: [number, number] = [Math.min(...reach), Math.max(...reach, 1e-4)];
  drawLabels(sheet.root, lines, sheet.top + top);
  const width = (RIGHT - LEFT - 3 * GAP) / COLUMNS.length;
  for (const [c, column] of COLUMNS.entries()) {
    const left = LEFT + c * (width + GAP);
    const x = linear(span, [left + 6, left + width - NUMBER]);
    drawColumn(sheet.root, lines, column, x, { left, right: left + width, top: sheet.top + top });
  }
  return { ...figure, svg: finish(sheet.root) };
}

function titleOf(rows: Row[], { verdict }: SpreadOptions): string {
  const index = (kind: Kind) => rows.find(row => row.kind === kind && row.contrast === 'index');
  const seeds = rows.filter(row => row.kind === 'seed' && row.contrast === 'index');
  if (!index('trained') && seeds.length > 1) {
    const above = seeds.filter(row => row.low !== null && row.low > 0).length;
    return `Late-spread index above zero in ${above} of ${seeds.length} models`;
  }
  const main = index('trained') ?? seeds[0];
  if (!main) return 'Late spread: not testable here';
  const value = withInterval(main.estimate!, main.low, main.high, signed);
  const untrained = index('untrained');
  const beside = untrained ? `; untrained ${signed(untrained.estimate!)}` : '';
  if (verdict) return `${verdictWords(verdict)}: index ${value}${beside}`;
  const bounded = main.low !== null && main.high !== null;
  const where = !bounded
    ? ''
    : main.low! > 0
      ? ', above zero'
      : main.high! < 0
        ? ', below zero'
        : ', not told from zero';
  return `Late-spread index ${value}${where}${beside}`;
}

function bandsNote({ header }: Provenance): string {
  const thirds = header.moeLayers.length < 8;
  return thirds
    ? 'Bands: thirds of the MoE layers.'
    : 'Bands: first quarter, middle half, last quarter of the MoE layers.';
}

interface Line {
  label: string;
  kind: Kind;
  cells: Map<Contrast, Row>;
}

/** One line per label and kind, kinds in their order. */
function linesOf(rows: Row[]): Line[] {
  const lines = new Map<string, Line>();
  for (const row of rows) {
    const key = `${row.kind} ${row.label}`;
    if (!lines.has(key)) lines.set(key, { label: row.label, kind: row.kind, cells: new Map() });
    lines.get(key)!.cells.set(row.contrast, row);
  }
  return [...lines.values()].sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
}

function drawLabels(root: Mark, lines: Line[], top: number): void {
  for (const [i, { label, kind }] of lines.entries()) {
    const y = top + (i + 0.5) * ROW;
    const weight = kind === 'trained' ? 'bold' : 'normal';
    const fill = LOOKS[kind].hollow ? FAINT : INK;
    text(root, LEFT - 12, y + 4, label, { anchor: 'end', weight, fill, size: kind === 'seed' ? 11 : 12 });
    if (i > 0 && lines[i - 1].kind !== kind) line(root, 16, y - ROW / 2, RIGHT, y - ROW / 2, GRID, 0.8);
  }
}

function drawColumn(
  root: Mark,
  lines: Line[],
  { contrast, head, under }: (typeof COLUMNS)[0],
  x: Scale,
  { left, right, top }: { left: number; right: number; top: number },
): void {
  const bottom = top + lines.length * ROW;
  text(root, left, top - 24, head, { weight: 'bold', size: 12 });
  text(root, left, top - 9, under, { fill: FAINT, size: SMALL });
  for (const tick of x.ticks(2)) {
    line(root, x(tick), top, x(tick), bottom, GRID, 0.8);
    text(root, x(tick), bottom + 15, tick === 0 ? '0' : signed(tick).replace(/0$/, ''), {
      anchor: 'middle',
      fill: FAINT,
    });
  }
  line(root, x(0), top - 4, x(0), bottom + 4, INK, 1.2);
  for (const [i, { label, kind, cells }] of lines.entries()) {
    const row = cells.get(contrast);
    const y = top + (i + 0.5) * ROW;
    if (row?.estimate == null || !Number.isFinite(row.estimate)) {
      text(root, right, y + 4, '–', { anchor: 'end', fill: FAINT });
      continue;
    }
    const { glyph, size, hollow, colour, note } = LOOKS[kind];
    if (row.low !== null && row.high !== null) {
      line(root, x(row.low), y, x(row.high), y, colour, kind === 'trained' ? 2.4 : 1.4);
      for (const end of [row.low, row.high]) line(root, x(end), y - 3, x(end), y + 3, colour, 1.2);
    }
    if (hollow) drawHollow(root, x(row.estimate), y, glyph, size, colour);
    else drawGlyph(root, x(row.estimate), y, glyph, size, colour);
    const weight = kind === 'trained' ? 'bold' : 'normal';
    text(root, right, y + 4, signed(row.estimate), { anchor: 'end', weight, fill: hollow ? FAINT : INK });
    const tip = `${label} (${note}), ${head.toLowerCase()}: ${withInterval(row.estimate, row.low, row.high, signed)}`;
    tag(rect(root, left, y - ROW / 2, right - left, ROW, '#FFFFFF').attr('fill-opacity', 0), { tip });
  }
}
