// F6, distances between languages in one layer (M6). Matrix: below the diagonal how far apart two languages route,
// above it how far apart they are in the family tree, languages by family, so that families show as light blocks on
// both sides if routing follows them. Below it the tree of each distance (average linkage), face to face: where they
// disagree ties cross.
import { type ColumnTable, table as tableFrom } from 'arquero';
import { averageLinkage, leafOrder, type Merge } from '../tree.ts';
import type { Provenance } from './caption.ts';
import { languageStyles } from './family-style.ts';
import { captionOf, emptyFrame, type FigureOptions, type Frame, frame, SHEET, SMALL } from './frame.ts';
import { decimal, signed } from './labels.ts';
import { amount, inkOn, mix } from './palette.ts';
import { byFamily } from './profiles.ts';
import { FAINT, type Figure, finish, type Mark, rect, tag, text } from './svg.ts';
import { drawLone, drawTangle, type Leaf, type Tangle, untangle } from './tanglegram.ts';

export interface DistanceOptions extends FigureOptions {
  /** Layer drawn; the last in the table by default. */
  layer?: number;
  /** Mantel correlation of the two distances, written into the caption. */
  mantel?: { r: number; p: number };
}
interface Pair {
  layer: number;
  a: string;
  b: string;
  distance: number | null;
  treeDistance?: number | null;
}
interface Language extends Leaf {
  family: string;
}
/** Symmetric [n · n]. */
interface Matrices {
  routing: Float64Array;
  tree: Float64Array;
  /** Whether the tree's distances came with the table; else 1 inside a family and 2 between. */
  measured: boolean;
  /** All pairs equally far in the tree: every language a family of its own, or all of one. Nothing to compare with. */
  flat: boolean;
}

const LEFT = 118;
const MOST_CELL = 36;
const FIGURES = 28;

/** Draws a distance table; the CSV holds the drawn layer. */
export function distance(table: ColumnTable, source: Provenance, options: DistanceOptions): Figure {
  const all = table.objects() as Pair[];
  const layer = options.layer ?? all.reduce((last, row) => Math.max(last, row.layer), Number.NEGATIVE_INFINITY);
  const pairs = all.filter(row => row.layer === layer && row.distance !== null && Number.isFinite(row.distance));
  const { languages, matrices } = arrange(languagesOf(source, pairs), pairs);
  const trees: [Merge[], Merge[]] = [matrices.routing, matrices.tree].map(m => averageLinkage(m, languages.length)) as [
    Merge[],
    Merge[],
  ];
  const tangle = untangle(trees[0], trees[1], languages.length);
  const words = wordsOf(source, options, { layer, languages, matrices, tangle });
  const figure = { name: 'distance', title: words.title, csv: csvOf(all.filter(row => row.layer === layer)) };
  if (languages.length < 2) {
    const why = 'Distances between languages need at least two languages with counted tokens.';
    return { ...figure, svg: finish(emptyFrame(words, why).root) };
  }
  const cell = Math.min(MOST_CELL, Math.floor(((SHEET - LEFT - 20) / languages.length) * 2) / 2);
  const size = cell * languages.length;
  const row = languages.length > 24 ? 12 : 16;
  const sheet = frame(SHEET, size + 96 + 40 + row * languages.length, words);
  drawMatrix(sheet, languages, matrices, cell);
  drawLegend(sheet.root, sheet.top + size + 48, matrices);
  const top = sheet.top + size + 96 + 32;
  heads(sheet.root, top - 26, matrices, tangle);
  if (matrices.flat) drawLone(sheet.root, languages, trees[0], { top: top - 14, row, left: 20, right: SHEET - 16 });
  else drawTangle(sheet.root, languages, trees, tangle, { top: top - 14, row, left: 20, right: SHEET - 16 });
  return { ...figure, svg: finish(sheet.root) };
}

function languagesOf({ header }: Provenance, pairs: Pair[]): Language[] {
  const present = new Set(pairs.flatMap(({ a, b }) => [a, b]));
  const styles = languageStyles(header);
  return byFamily(header)
    .filter(({ code }) => present.has(code))
    .map(({ code, name, family }) => ({ code, label: name, family, style: styles.get(code)! }));
}

/** Languages by family; where families tell nothing, in the order of the routing's own tree. */
function arrange(languages: Language[], pairs: Pair[]): { languages: Language[]; matrices: Matrices } {
  const matrices = matricesOf(languages, pairs);
  if (!matrices.flat || languages.length < 2) return { languages, matrices };
  const order = leafOrder(averageLinkage(matrices.routing, languages.length), languages.length);
  const sorted = order.map(i => languages[i]);
  return { languages: sorted, matrices: matricesOf(sorted, pairs) };
}

function matricesOf(languages: Language[], pairs: Pair[]): Matrices {
  const n = languages.length;
  const place = new Map(languages.map(({ code }, i) => [code, i]));
  const measured =
    pairs.length > 0 && pairs.every(pair => pair.treeDistance != null && Number.isFinite(pair.treeDistance));
  const [routing, tree] = [new Float64Array(n * n), new Float64Array(n * n)];
  for (const { a, b, distance, treeDistance } of pairs) {
    const [i, j] = [place.get(a), place.get(b)];
    if (i === undefined || j === undefined) continue;
    const kin = languages[i].family === languages[j].family ? 1 : 2;
    for (const at of [i * n + j, j * n + i]) {
      if (i !== j) routing[at] = distance!;
      if (i !== j) tree[at] = measured ? treeDistance! : kin;
    }
  }
  const between = pairs.length === 0 ? [] : tree.filter((_, at) => at % n !== Math.floor(at / n));
  return { routing, tree, measured, flat: between.every(value => value === between[0]) };
}

interface Found {
  layer: number;
  languages: Language[];
  matrices: Matrices;
  tangle: Tangle;
}

function wordsOf(source: Provenance, options: DistanceOptions, found: Found) {
  const { languages, matrices, layer, tangle } = found;
  const [within, between] = means(languages, matrices.routing);
  const n = languages.length;
  const chance = Math.round((n * (n - 1)) / 4);
  const mantel = options.mantel ? ` Mantel r ${signed(options.mantel.r)}, p = ${options.mantel.p}.` : '';
  const tree = matrices.measured ? 'family tree' : 'families: same or not';
  const compared = matrices.flat
    ? ' by routing. Under it, the same as a tree. All pairs are equally far in families, so no family tree stands beside it.'
    : `; below the diagonal by routing, above it by ${tree}. Under it, both as trees: each tie joins a language to itself, ` +
      'and where ties cross the trees disagree.';
  const ties = matrices.flat ? '' : ` Ties that cross: ${tangle.crossings}, in two random orders ${chance}.`;
  const where = Number.isFinite(layer) ? `Layer ${layer}. ` : '';
  return {
    title: titleOf(within, between),
    reading: `${where}Matrix: the darker, the further apart${compared}`,
    caption: captionOf(
      source,
      options,
      null,
      `Routing: Jensen–Shannon distance, 0 to 1; trees by average linkage.${ties}${mantel}`,
    ),
  };
}

function titleOf(within: number | null, between: number | null): string {
  const known = within ?? between;
  if (known === null) return 'Distances between languages';
  if (within === null || between === null) return `Routing of two languages is ${decimal(known)} apart on average`;
  return `Routing of languages of one family ${decimal(within)}, of different families ${decimal(between)} apart`;
}

/** Mean distance within and between families; null where there is no such pair. */
function means(languages: Language[], routing: Float64Array): [number | null, number | null] {
  const n = languages.length;
  const sums = { within: 0, between: 0 };
  const counts = { within: 0, between: 0 };
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const kind = languages[i].family === languages[j].family ? 'within' : 'between';
      sums[kind] += routing[i * n + j];
      counts[kind]++;
    }
  }
  const mean = (kind: 'within' | 'between') => (counts[kind] === 0 ? null : sums[kind] / counts[kind]);
  return [mean('within'), mean('between')];
}

/** For what is not measured on routing: a lighter scale without hue. */
const grey = (t: number): string => mix('#FFFFFF', '#8C8C8C', t);
const scaleOf = (matrix: Float64Array): number => Math.max(1e-9, ...matrix);

function drawMatrix({ root, top }: Frame, languages: Language[], matrices: Matrices, cell: number): void {
  const n = languages.length;
  const most = { routing: scaleOf(matrices.routing), tree: scaleOf(matrices.tree) };
  for (const [i, row] of languages.entries()) {
    const y = top + i * cell;
    text(root, LEFT - 14, y + cell / 2 + 3.6, row.label, { anchor: 'end', size: SMALL });
    rect(root, LEFT - 9, y, 5, cell, row.style.hue);
    const x = LEFT + i * cell;
    rect(root, x, top + n * cell + 4, cell, 5, row.style.hue);
    const under = { anchor: 'end' as const, size: SMALL, rotate: -90 };
    text(root, x + cell / 2 + 3.6, top + n * cell + 14, row.code, under);
    for (const [j, column] of languages.entries()) {
      if (i === j || (i < j && matrices.flat)) continue;
      const kind = i > j ? 'routing' : 'tree';
      const value = matrices[kind][i * n + j];
      const fill = kind === 'routing' ? amount(value / most.routing) : grey(value / most.tree);
      const mark = rect(root, LEFT + j * cell, y, cell - 0.5, cell - 0.5, fill);
      const tree = `tree ${decimal(matrices.tree[i * n + j])}`;
      const tip = `${row.label} – ${column.label}: routing ${decimal(matrices.routing[i * n + j])}, ${tree}`;
      tag(mark, { language: row.code, family: row.style.family, tip });
      if (cell < FIGURES || kind === 'tree') continue;
      const middle = { anchor: 'middle' as const, size: SMALL, fill: inkOn(fill) };
      text(root, LEFT + (j + 0.5) * cell, y + cell / 2 + 3.6, decimal(value), middle);
    }
  }
}

function drawLegend(root: Mark, y: number, { routing, tree, measured, flat }: Matrices): void {
  const upper = measured ? `above: family tree, 0 to ${decimal(scaleOf(tree))}` : 'above: 1 same family, 2 other';
  const scales = [
    { id: 'distance-ramp', of: amount, x: LEFT, words: `below: routing, 0 to ${decimal(scaleOf(routing))}` },
    { id: 'distance-grey', of: grey, x: LEFT + 290, words: upper },
  ];
  for (const { id, of, x, words } of flat ? scales.slice(0, 1) : scales) {
    const ramp = root.append('defs').append('linearGradient').attr('id', id);
    for (let i = 0; i <= 10; i++) {
      const stop = ramp.append('stop').attr('offset', i / 10);
      stop.attr('stop-color', of(i / 10));
    }
    rect(root, x, y, 80, 11, `url(#${id})`).attr('stroke', FAINT).attr('stroke-width', 0.5);
    text(root, x + 88, y + 9.5, words);
  }
}

function heads(root: Mark, y: number, { measured, flat }: Matrices, { crossings }: Tangle): void {
  text(root, 20, y, 'Tree of routing', { weight: 'bold', size: 12 });
  if (flat) return;
  text(root, SHEET / 2 + 2, y, `ties that cross: ${crossings}`, { anchor: 'middle', fill: FAINT });
  const right = measured ? 'Tree of families' : 'Same family or not';
  text(root, SHEET - 16, y, right, { anchor: 'end', weight: 'bold', size: 12 });
}

function csvOf(rows: Pair[]): string {
  const names = ['layer', 'a', 'b', 'distance', 'treeDistance'] as const;
  return tableFrom(Object.fromEntries(names.map(name => [name, rows.map(row => row[name] ?? null)]))).toCSV();
}
