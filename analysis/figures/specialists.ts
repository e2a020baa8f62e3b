// F9, specialist map: a mark per expert, x its universality U (M9: 0 one language … 1 all alike), y its load against
// an even one (log scale), hue and glyph the family that uses it most compared with the others. Experts above U = .9
// are hollow: shared. Small multiples over depth show early shared columns and late families.
import type { ColumnTable } from 'arquero';
import { scaleLog } from 'd3-scale';
import type { TraceHeader } from '../../routing/trace.ts';
import { expertLabel, type Provenance, pickLayers } from './caption.ts';
import { familyKey, familyKeyHeight } from './family-key.ts';
import { type FamilyStyle, familyGlyph, familyStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, frame, SHEET, SMALL } from './frame.ts';
import { decimal, textWidth, withInterval } from './labels.ts';
import { drawHollow } from './shapes.ts';
import { SHARED } from './stops.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, percent, tag, text } from './svg.ts';

export interface SpecialistsOptions extends FigureOptions {
  /** Layers drawn at most; the rest is in the CSV. Default 8. */
  mostLayers?: number;
}

/** A row of the M9 table; `low` and `high` of universality where they were computed. */
interface Expert {
  layer: number;
  expert: number;
  universality: number | null;
  low?: number | null;
  high?: number | null;
  load: number;
  family: string | null;
  lift: number | null;
}
interface Panel {
  left: number;
  top: number;
  width: number;
  height: number;
}

const LEFT = 62;
const GAP = { x: 18, y: 44 };
const HEIGHT = 150;
/** Loads of less than this share of an even load are drawn on the lower edge. */
const LEAST = 1 / 32;
const NAMED = 2;
/** With more experts a panel names none: the numbers would hide marks. */
const MOST_NAMED = 64;

/** Draws the M9 table; `options.view` is the view of its shares. */
export function specialists(universality: ColumnTable, source: Provenance, options: SpecialistsOptions): Figure {
  const { header } = source;
  const rows = universality.objects() as Expert[];
  const known = rows.filter(row => row.universality !== null);
  const layers = pickLayers([...new Set(known.map(row => row.layer))], options.mostLayers ?? 8);
  const words = wordsOf(rows, known, layers, source, options);
  const done = (root: Mark): Figure => {
    return { name: 'specialists', title: words.title, svg: finish(root), csv: universality.toCSV() };
  };
  if (layers.length === 0) {
    const why = 'Universality compares languages: at least two with counted tokens are needed.';
    return done(emptyFrame(words, why).root);
  }
  const across = layers.length <= 3 ? layers.length : layers.length <= 6 ? 3 : 4;
  const down = Math.ceil(layers.length / across);
  const styles = new Map(familyStyles(header).map(style => [style.family, style]));
  const key = familyKeyHeight([...styles.values()], SHEET - 32);
  const sheet = frame(SHEET, down * (HEIGHT + GAP.y) + 32 + key, words);
  const width = (SHEET - LEFT - 16 - (across - 1) * GAP.x) / across;
  const even = header.expertsPerToken / header.numExperts;
  const most = Math.max(2, ...known.map(row => row.load / even)) * 1.3;
  for (const [i, layer] of layers.entries()) {
    const left = LEFT + (i % across) * (width + GAP.x);
    const top = sheet.top + 22 + Math.floor(i / across) * (HEIGHT + GAP.y);
    const panel = { left, top, width, height: HEIGHT };
    const y = scaleLog([LEAST, most], [top + HEIGHT, top]).base(2);
    drawPanel(sheet.root, panel, layer, y, i % across === 0, rows);
    const mine = known.filter(row => row.layer === layer).sort((a, b) => b.universality! - a.universality!);
    for (const row of mine) drawExpert(sheet.root, panel, y, row, even, styles, header);
    if (header.numExperts <= MOST_NAMED) nameSpecialists(sheet.root, panel, y, mine, even);
  }
  const under = sheet.top + down * (HEIGHT + GAP.y) + 14;
  text(sheet.root, (LEFT + SHEET) / 2, under, 'universality: 0 one language alone, 1 all languages alike', {
    anchor: 'middle',
    fill: FAINT,
  });
  familyKey(sheet.root, { x: 16, y: under + 24, width: SHEET - 32 }, [...styles.values()], 'glyph');
  return done(sheet.root);
}

function wordsOf(rows: Expert[], known: Expert[], layers: number[], source: Provenance, options: SpecialistsOptions) {
  const shared = (layer: number) => known.filter(row => row.layer === layer && row.universality! > SHARED).length;
  const alive = (layer: number) => known.filter(row => row.layer === layer).length;
  const [first, last] = [layers[0], layers.at(-1)!];
  const told = (layer: number) => `${shared(layer)} of ${alive(layer)}`;
  const late = layers.length > 1 ? `, ${told(last)} in layer ${last}` : '';
  const drawn = new Set(rows.map(row => row.layer)).size;
  const cut = layers.length < drawn ? `${layers.length} of ${drawn} MoE layers drawn.` : '';
  const hasInterval = known.some(row => row.low != null);
  const title =
    layers.length === 0
      ? 'Which experts all languages share'
      : `All languages share ${told(first)} experts in layer ${first}${late}`;
  const reading =
    `A mark is an expert: hue and shape tell which family uses it most compared with the others; hollow is shared ` +
    `(universality above ${SHARED}).`;
  return { title, reading, caption: captionOf(source, options, hasInterval, `${cut} Load on a log scale.`.trim()) };
}

type Scale = (value: number) => number;

function drawPanel(root: Mark, panel: Panel, layer: number, y: Scale, labelled: boolean, rows: Expert[]): void {
  const { left, top, width, height } = panel;
  const dead = rows.filter(row => row.layer === layer && row.load === 0).length;
  text(root, left, top - 7, `Layer ${layer}`, { weight: 'bold', size: 12 });
  if (dead > 0) text(root, left + width, top - 7, `${dead} unused`, { anchor: 'end', size: SMALL, fill: FAINT });
  for (const times of [1 / 16, 1 / 4, 1, 4, 16]) {
    if (y(times) < top || y(times) > top + height) continue;
    line(root, left, y(times), left + width, y(times), times === 1 ? '#9A9A9A' : '#E4E4E4', times === 1 ? 1 : 0.8);
    const label = times === 1 ? 'even' : times < 1 ? `1/${1 / times}` : `${times} ×`;
    if (labelled) text(root, left - 6, y(times) + 3.8, label, { anchor: 'end', size: SMALL });
  }
  if (labelled) text(root, 14, top + height / 2, 'load', { anchor: 'middle', rotate: -90, fill: FAINT });
  const x = (u: number) => left + u * width;
  line(root, x(SHARED), top, x(SHARED), top + height, '#9A9A9A', 0.8).attr('stroke-dasharray', '3 3');
  for (const u of [0, 0.5, 1]) text(root, x(u), top + height + 14, `${u}`, { anchor: anchorOf(u), size: SMALL });
  line(root, left, top + height, left + width, top + height, INK, 0.8);
}

const anchorOf = (u: number) => (u === 0 ? 'start' : u === 1 ? 'end' : 'middle');
const place = ({ left, width }: Panel, y: Scale, row: Expert, even: number): [number, number] => [
  left + row.universality! * width,
  y(Math.max(row.load / even, LEAST)),
];

function drawExpert(
  root: Mark,
  panel: Panel,
  y: Scale,
  row: Expert,
  even: number,
  styles: Map<string, FamilyStyle>,
  header: TraceHeader,
): void {
  const [cx, cy] = place(panel, y, row, even);
  const style = styles.get(row.family ?? '');
  const hollow = row.universality! > SHARED || !style;
  const mark = hollow
    ? drawHollow(root, cx, cy, style?.glyph ?? 'circle', 2.7, style?.hue ?? INK).attr('stroke-width', 1.1)
    : familyGlyph(root, cx, cy, style, header.numExperts > MOST_NAMED ? 3 : 3.6);
  const evenness = withInterval(row.universality!, row.low, row.high);
  const favourite = row.family && row.lift !== null ? `, ${decimal(2 ** row.lift, 1)} × in ${row.family}` : '';
  const name = `${expertLabel(header, row.expert)}, layer ${row.layer}`;
  const tip = `${name}: universality ${evenness}, load ${percent(row.load)}${favourite}`;
  tag(mark, { family: row.family ?? undefined, layer: row.layer, expert: row.expert, tip });
}

/** Numbers of the most specialised experts that carry at least an even load. */
function nameSpecialists(root: Mark, panel: Panel, y: Scale, mine: Expert[], even: number): void {
  const busy = mine.filter(row => row.load >= even && row.universality! <= SHARED).slice(-NAMED);
  let above = Number.NEGATIVE_INFINITY;
  for (const row of busy.sort((a, b) => b.load - a.load)) {
    const [cx, cy] = place(panel, y, row, even);
    const words = `${row.expert}`;
    const at = Math.max(cy + 3.6, above + 11);
    const right = cx + 8 + textWidth(words, SMALL) < panel.left + panel.width;
    text(root, right ? cx + 6 : cx - 6, at, words, { size: SMALL, halo: 3, anchor: right ? 'start' : 'end' });
    above = at;
  }
}
