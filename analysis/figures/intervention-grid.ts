// F12, intervention grid: languages × interventions, change in bits per byte against the unchanged model, diverging
// around 0. On target and off target stand together, nothing is picked. Hollow: inside the band of size-matched
// random controls, so no more than touching any experts would do. Bold: the interval excludes 0.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import { familyHues, type Provenance, zeroTextNote } from './caption.ts';
import { emptyFrame, frame, SHEET, SMALL } from './frame.ts';
import { signed, textWidth, withInterval } from './labels.ts';
import { difference, EMPTY, inkOn } from './palette.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, rect, tag, text } from './svg.ts';

export interface InterventionGridOptions {
  /** Codes of the languages that each intervention (a value of `column`) is aimed at; they are framed. */
  targets?: Record<string, string[]>;
  /** How the intervals were made, for example “2,000 paired bootstrap draws over documents”. */
  resampling?: string;
  /** How the band was made, for example “20 draws of as many random experts of like load”. */
  controls?: string;
}

export interface InterventionCell {
  /** Language code. */
  row: string;
  /** Intervention. */
  column: string;
  /** Change in bits per byte; positive is worse. Null where not measured. */
  value: number | null;
  low: number | null;
  high: number | null;
  nullLow: number | null;
  nullHigh: number | null;
}
interface Row {
  code: string;
  label: string;
  family: string;
  y: number;
}
interface Grid {
  header: TraceHeader;
  rows: Row[];
  columns: string[];
  cells: Map<string, InterventionCell>;
  left: number;
  pitch: number;
  reach: number;
  targets: Record<string, string[]>;
}

const LEFT = 232;
const ROW = 15;
const FAMILY_GAP = 5;
const PITCH = { least: 40, most: 64 };
const HATCH = 'url(#intervention-none)';

/** Draws the grid; rows in family order, columns in the order of the table. */
export function interventionGrid(table: ColumnTable, source: Provenance, options: InterventionGridOptions): Figure {
  const { header } = source;
  const list = table.objects() as InterventionCell[];
  const columns = [...new Set(list.map(cell => cell.column))];
  const measured = list.filter(cell => cell.value !== null);
  const rows = placeRows(header, new Set(list.map(cell => cell.row)));
  const words = wordsOf(measured, columns, source, options);
  const csv = table.toCSV();
  if (measured.length === 0 || rows.length === 0) {
    const why = 'No intervention was measured on these languages.';
    return { name: 'interventions', title: words.title, svg: finish(emptyFrame(words, why).root), csv };
  }
  const pitch = Math.max(PITCH.least, Math.min(PITCH.most, (SHEET - LEFT - 60) / columns.length));
  const head = 20 + Math.max(...columns.map(column => textWidth(column))) * 0.66;
  const lean = Math.max(...columns.map((column, i) => (i - columns.length + 0.5) * pitch + textWidth(column) * 0.8));
  const width = Math.ceil(Math.max(SHEET, LEFT + columns.length * pitch + Math.max(lean, 0) + 16));
  const targets = options.targets ?? {};
  const aimed = Object.keys(targets).length > 0;
  const height = rows.at(-1)!.y + ROW;
  const sheet = frame(width, head + height + (aimed ? 2 * ROW + 14 : ROW + 12) + 56, words);
  const grid: Grid = {
    ...{ header, columns, left: LEFT, pitch, targets, reach: reachOf(measured) },
    rows: rows.map(row => ({ ...row, y: row.y + sheet.top + head })),
    cells: new Map(list.map(cell => [`${cell.row} ${cell.column}`, cell])),
  };
  hatching(sheet.root);
  drawHeads(sheet.root, grid);
  drawRowLabels(sheet.root, grid);
  for (const row of grid.rows) for (const i of columns.keys()) drawCell(sheet.root, grid, row, i);
  drawSummary(sheet.root, grid, sheet.top + head + height + 10, aimed);
  drawKey(
    sheet.root,
    grid,
    sheet.bottom - 28,
    measured.some(cell => cell.nullLow !== null),
    aimed,
  );
  return { name: 'interventions', title: words.title, svg: finish(sheet.root), csv };
}

/** End of the colour scale: the largest change but one in a hundred, in tenths. */
function reachOf(cells: InterventionCell[]): number {
  const sizes = cells.map(({ value }) => Math.abs(value!)).sort((a, b) => a - b);
  return Math.max(0.1, Math.ceil(sizes[Math.floor(0.99 * (sizes.length - 1))] * 10) / 10);
}

function placeRows(header: TraceHeader, present: Set<string>): Row[] {
  let y = 0;
  const languages = familiesOf(header).flatMap(family => header.languages.filter(l => l.family === family));
  return languages
    .filter(({ code }) => present.has(code))
    .map(({ code, name, family, trainingBytes }, i, all) => {
      if (i > 0) y += ROW + (all[i - 1].family === family ? 0 : FAMILY_GAP);
      return { code, label: name + (trainingBytes === 0 ? ' ‡' : ''), family, y };
    });
}

function wordsOf(
  measured: InterventionCell[],
  columns: string[],
  { header, step }: Provenance,
  { resampling, controls, targets }: InterventionGridOptions,
) {
  const languages = new Set(measured.map(cell => cell.row)).size;
  const band = measured.some(cell => cell.nullLow !== null);
  const interval = measured.some(cell => cell.low !== null);
  const caption = [
    'Change in bits per byte (tokenisation-free) against the unchanged model; ' +
      `${columns.length} interventions on ${languages} languages.`,
    `Model ${header.model}, run ${header.run}${step === null ? '' : `, step ${step}`}.`,
    interval
      ? `Intervals: 95 %${resampling ? `: ${resampling}` : ''}; bold where they exclude 0.`
      : 'No interval could be computed.',
    band
      ? `Hollow: inside the band of random controls${controls ? ` (${controls})` : ''}.`
      : 'No random controls were run.',
    zeroTextNote(header),
  ];
  const many = columns.length === 0 ? 'interventions do' : `${columns.length} interventions do`;
  const what = columns.length === 1 ? `“${columns[0]}” does` : many;
  const reading = `Purple: worse, more bits per byte; orange: better.${targets ? ' Framed: what it is aimed at.' : ''}`;
  return {
    title: `What ${what} to every language`,
    reading,
    caption: caption.filter(Boolean).join(' '),
  };
}

const centre = ({ left, pitch }: Grid, column: number): number => left + (column + 0.5) * pitch;

function drawHeads(root: Mark, grid: Grid): void {
  const y = grid.rows[0].y - 8;
  for (const [i, column] of grid.columns.entries()) text(root, centre(grid, i) - 4, y, column, { rotate: -40 });
}

function drawRowLabels(root: Mark, { header, rows, left, columns, pitch }: Grid): void {
  const hues = familyHues(header);
  for (const [f, family] of familiesOf(header).entries()) {
    const mine = rows.filter(row => row.family === family);
    if (mine.length === 0) continue;
    const [top, bottom] = [mine[0].y, mine.at(-1)!.y + ROW];
    rect(root, 98, top, 6, bottom - top - 1, hues[f]);
    text(root, 92, (top + bottom) / 2 + 3.5, family, { anchor: 'end', weight: 'bold' });
    const below = rows[rows.indexOf(mine.at(-1)!) + 1];
    if (below)
      line(
        root,
        98,
        bottom + FAMILY_GAP / 2 - 0.5,
        left + columns.length * pitch,
        bottom + FAMILY_GAP / 2 - 0.5,
        INK,
        0.4,
      );
  }
  for (const { code, label, y } of rows) {
    text(root, left - 38, y + 11, label, { anchor: 'end' });
    text(root, left - 8, y + 11, code, { anchor: 'end', size: SMALL, fill: FAINT });
  }
}

function drawCell(root: Mark, grid: Grid, { code, label, family, y }: Row, i: number): void {
  const column = grid.columns[i];
  const x = grid.left + i * grid.pitch;
  const cell = grid.cells.get(`${code} ${column}`);
  if (!cell || cell.value === null) {
    rect(root, x, y, grid.pitch - 2, ROW - 1, HATCH);
    return;
  }
  const { value, low, high, nullLow, nullHigh } = cell;
  const colour = difference(value / grid.reach);
  const hollow = nullLow !== null && nullHigh !== null && value >= nullLow && value <= nullHigh;
  const three = (v: number) => signed(v, 3);
  const chance =
    nullLow !== null && nullHigh !== null ? `; random controls ${three(nullLow)} to ${three(nullHigh)}` : '';
  const tip = `${label}, ${column}: ${withInterval(value, low, high, three)} bits per byte${chance}`;
  const group = tag(root.append('g'), { language: code, family, tip });
  if (hollow)
    rect(group, x + 0.75, y + 0.75, grid.pitch - 3.5, ROW - 2.5, '#FFFFFF')
      .attr('stroke', Math.abs(value) < grid.reach / 4 ? '#C4C4C4' : colour)
      .attr('stroke-width', 1.5);
  else rect(group, x, y, grid.pitch - 2, ROW - 1, colour);
  const sure = low !== null && high !== null && (low > 0 || high < 0);
  text(group, x + grid.pitch / 2 - 1, y + 11, signed(value), {
    ...{ anchor: 'middle', size: SMALL, weight: sure && !hollow ? 'bold' : 'normal' },
    fill: hollow ? FAINT : inkOn(colour),
  });
  if (!grid.targets[column]?.includes(code)) return;
  rect(group, x - 0.5, y - 0.5, grid.pitch - 1, ROW, 'none')
    .attr('stroke', INK)
    .attr('stroke-width', 1.8);
}

/** Below the grid: the mean, or with targets the mean on them and the largest change anywhere else. */
function drawSummary(root: Mark, grid: Grid, y: number, aimed: boolean): void {
  const lines = aimed ? ['Mean of targets', 'Largest change elsewhere'] : ['Mean of languages'];
  for (const [n, label] of lines.entries()) {
    text(root, grid.left - 8, y + 11 + n * ROW, label, { anchor: 'end', weight: 'bold' });
    for (const [i, column] of grid.columns.entries()) {
      const all = grid.rows.flatMap(({ code }) => {
        const value = grid.cells.get(`${code} ${column}`)?.value;
        return value == null ? [] : [{ value, target: grid.targets[column]?.includes(code) ?? false }];
      });
      const chosen = all.filter(one => !aimed || one.target === (n === 0)).map(one => one.value);
      if (chosen.length === 0) continue;
      const value =
        n === 0
          ? chosen.reduce((a, b) => a + b, 0) / chosen.length
          : chosen.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
      text(root, centre(grid, i) - 1, y + 11 + n * ROW, signed(value), {
        anchor: 'middle',
        weight: 'bold',
        size: SMALL,
      });
    }
  }
}

function hatching(root: Mark): void {
  const pattern = root.append('defs').append('pattern').attr('id', 'intervention-none');
  pattern.attr('width', 6).attr('height', 6).attr('patternUnits', 'userSpaceOnUse');
  pattern.attr('patternTransform', 'rotate(45)');
  rect(pattern, 0, 0, 6, 6, EMPTY);
  line(pattern, 0, 0, 0, 6, '#9A9A9A', 1.6);
}

function drawKey(root: Mark, { reach, left }: Grid, y: number, band: boolean, aimed: boolean): void {
  const ramp = root.append('defs').append('linearGradient').attr('id', 'intervention-ramp');
  for (let i = 0; i <= 10; i++)
    ramp
      .append('stop')
      .attr('offset', i / 10)
      .attr('stop-color', difference(i / 5 - 1));
  const x = 62;
  text(root, x - 6, y + 10, signed(-reach, 1), { anchor: 'end' });
  rect(root, x, y, 140, 12, 'url(#intervention-ramp)').attr('stroke', FAINT).attr('stroke-width', 0.5);
  text(root, x + 146, y + 10, `${signed(reach, 1)} bits per byte`);
  let right = left + 84;
  if (band) {
    rect(root, right, y, 26, 12, '#FFFFFF').attr('stroke', difference(0.6)).attr('stroke-width', 1.5);
    text(root, right + 32, y + 10, 'as random controls');
    right += 150;
  }
  if (aimed) {
    rect(root, right, y, 26, 12, difference(0.6)).attr('stroke', INK).attr('stroke-width', 1.8);
    text(root, right + 32, y + 10, 'target');
    right += 86;
  }
  rect(root, right, y, 26, 12, HATCH);
  text(root, right + 32, y + 10, 'not measured');
}
