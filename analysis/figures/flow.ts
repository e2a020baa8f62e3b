// Alluvial picture: languages → experts of each MoE layer in turn. Ribbons are measured flows (M13), never products of
// margins; hue = family of the token's language; strong colour = into that family's own expert, pale = into another one.
// Each language with tokens has the same height. Small ribbons are merged into grey, their total is printed.
// What flows stands in ribbons.ts, where it stands in flow-layout.ts; here it is drawn and explained.
import type { ColumnTable } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import type { FlowRow } from '../flow.ts';
import { familiesOf } from '../table.ts';
import { type Averaging, shareRows } from '../usage.ts';
import { expertFamilies, familyHues, type Provenance, provenance, zeroTextNote } from './caption.ts';
import {
  type Box,
  columnHeight,
  FIRST_X,
  LAST_X,
  labelPlaces,
  layout,
  massOf,
  type Placed,
  pitchOf,
  rowTops,
  TOP,
  WIDTH,
} from './flow-layout.ts';
import { mix, REST, rankColour } from './palette.ts';
import { csvOf, expertOrders, KEPT_OF_GROUP, mergeSmall, type Ribbon, ribbonsOf } from './ribbons.ts';
import {
  canvas,
  FAINT,
  type Figure,
  finish,
  INK,
  line,
  type Mark,
  paragraph,
  percent,
  rect,
  round,
  text,
} from './svg.ts';

export interface FlowOptions {
  averaging: Averaging;
  /** `fixed` keeps expert ids, so that a family's own flow runs straight; `barycentre` moves experts to where their mass
   *  comes from. Default: fixed if every expert belongs to a family, else barycentre. */
  order?: 'barycentre' | 'fixed';
  /** Ribbons below this share of all mass are merged into grey, unless they are a tenth of their group. Default 0.3 %. */
  cut?: number;
}

// With more layers than this, experts between the ends carry their number instead of a name.
const MOST_LABELLED = 3;

/**
 * Draws 1 or more MoE layers. `gateUsage` is the usage table of the gate view, `flows` the M13 table between the drawn
 * layers (empty with one layer), both by language with the same averaging.
 */
export function flowPicture(
  gateUsage: ColumnTable,
  flows: ColumnTable,
  source: Provenance,
  options: FlowOptions,
): Figure {
  const { header } = source;
  const owned = expertFamilies(header).every(family => family !== null);
  const { cut = 0.003, order = owned ? 'fixed' : 'barycentre' } = options;
  const rows = flows.objects() as FlowRow[];
  const layers = rows.length === 0 ? [header.moeLayers.at(-1)!] : [...new Set(rows.flatMap(row => [row.from, row.to]))];
  layers.sort((a, b) => a - b);
  const first = shareRows(gateUsage, layers[0]);
  const languages = familiesOf(header).flatMap(name => header.languages.filter(l => l.family === name));
  const all = ribbonsOf(languages, first, rows, layers, header);
  const orders = expertOrders(all, languages.length, header.numExperts, layers.length, order);
  const { ribbons, rest } = mergeSmall(all, cut, languages.length);
  const title = flowTitle(languages, first, layers);
  const words = provenance(source, 'gate', options.averaging);
  const height = TOP + columnHeight(languages) + 96;
  const root = canvas(WIDTH, Math.round(height), title, words);
  paragraph(root, 16, 30, WIDTH - 32, title, { size: 18, weight: 'bold' });
  paragraph(root, 16, 53, WIDTH - 32, words, { fill: FAINT, size: 11.5 });

  const hues = familyHues(header);
  const places = layout(languages, ribbons, orders, layers.length);
  const strength = (ribbon: Placed) => (ribbon.family < 0 ? 0 : ribbon.own ? 2 : 1);
  for (const ribbon of places.ribbons.sort((a, b) => strength(a) - strength(b))) drawRibbon(root, ribbon, hues);
  drawLanguages(root, languages, first, header);
  drawExperts(root, places.nodes, all, layers, header);
  drawHeads(root, layers, languages, first, header);
  drawNotes(root, height - 68, rest, cut, layers, header);
  return { name: 'flow', title, svg: finish(root), csv: csvOf(all, languages, layers, header) };
}

function flowTitle(languages: TraceLanguage[], first: Map<string, Float64Array | null>, layers: number[]): string {
  const flowing = languages.filter(l => first.get(l.code)).length;
  const families = new Set(languages.map(l => l.family)).size;
  const where =
    layers.length === 1 ? `layer ${layers[0]}` : `layers ${layers.slice(0, -1).join(', ')} and ${layers.at(-1)}`;
  const of = families === languages.length ? '' : ` of ${families} families`;
  return `How ${flowing} languages${of} flow through the experts of ${where}`;
}

function drawRibbon(root: Mark, { x0, x1, y0, y1, width, family, own }: Placed, hues: string[]): void {
  const middle = (x0 + x1) / 2;
  const half = Math.max(width, 0.4) / 2;
  const [a, b, c] = [x0, middle, x1].map(round);
  const [t0, t1, b0, b1] = [y0 - half, y1 - half, y0 + half, y1 + half].map(round);
  const path = `M${a},${t0}C${b},${t0} ${b},${t1} ${c},${t1}L${c},${b1}C${b},${b1} ${b},${b0} ${a},${b0}Z`;
  const fill = family < 0 ? REST : hues[family];
  root
    .append('path')
    .attr('d', path)
    .attr('fill', fill)
    .attr('fill-opacity', family < 0 ? 0.4 : own ? 0.82 : 0.34);
}

function drawLanguages(
  root: Mark,
  languages: TraceLanguage[],
  first: Map<string, Float64Array | null>,
  header: TraceHeader,
): void {
  const tops = rowTops(languages);
  const [pitch, mass] = [pitchOf(languages), massOf(languages)];
  const hues = familyHues(header);
  for (const [i, language] of languages.entries()) {
    const family = familiesOf(header).indexOf(language.family);
    const present = first.get(language.code) !== null && first.get(language.code) !== undefined;
    const box = rect(root, FIRST_X, tops[i] + (pitch - mass) / 2, 6, mass, present ? hues[family] : 'none');
    if (!present) box.attr('stroke', FAINT).attr('stroke-dasharray', '2 2').attr('stroke-width', 0.8);
    const mark = language.trainingBytes === 0 ? ' ‡' : '';
    const fill = present ? INK : FAINT;
    text(root, FIRST_X - 36, tops[i] + pitch / 2 + 4.3, language.name + mark, { anchor: 'end', size: 12.5, fill });
    text(root, FIRST_X - 8, tops[i] + pitch / 2 + 4.3, language.code, { anchor: 'end', size: 11, fill: FAINT });
  }
  for (const [family, name] of familiesOf(header).entries()) {
    const members = languages.flatMap((l, i) => (l.family === name ? [i] : []));
    const [top, bottom] = [tops[members[0]], tops[members.at(-1)!] + pitch];
    if (members.length === 1 && languages[members[0]].name === name) continue;
    rect(root, 126, top + 1, 4, bottom - top - 2, hues[family]);
    const middle = (top + bottom) / 2;
    text(root, 119, middle + (members.length > 1 ? -1 : 4.5), name, { anchor: 'end', size: 13, weight: 'bold' });
    if (members.length > 1)
      text(root, 119, middle + 13, `${members.length} languages`, { anchor: 'end', size: 11, fill: FAINT });
  }
}

/** Boxes and labels of the experts; the label says the expert's load and how much of it comes from its own languages. */
function drawExperts(root: Mark, boxes: Box[], all: Ribbon[], layers: number[], header: TraceHeader): void {
  const families = familiesOf(header);
  const owners = expertFamilies(header);
  const labels = labelPlaces(boxes);
  for (const { node, x0, x1, y0, y1 } of boxes) {
    if (node.column === 0) continue;
    const owner = owners[node.row];
    rect(
      root,
      x0,
      y0,
      x1 - x0,
      y1 - y0,
      owner === null ? INK : mix(familyHues(header)[families.indexOf(owner)], '#000000', 0.25),
    );
    const into = all.filter(r => r.stage === node.column - 1 && r.target === node.row);
    const load = into.reduce((sum, r) => sum + r.value, 0);
    const own = into.filter(r => r.own).reduce((sum, r) => sum + r.value, 0);
    const middle = (y0 + y1) / 2;
    const last = node.column === layers.length;
    if (!last && layers.length > MOST_LABELLED) {
      text(root, (x0 + x1) / 2, middle + 4, `${node.row}`, { anchor: 'middle', size: 10, fill: '#FFFFFF' });
      continue;
    }
    const label = labels.get(node.id)!;
    const halo = last ? 0 : 4;
    const name =
      layers.length > MOST_LABELLED ? `${node.row} ${header.expertNames[node.row]}` : header.expertNames[node.row];
    text(root, x1 + 8, label - 2, name, { size: 13.5, weight: 'bold', halo });
    const words = load > 0 ? `${percent(load)} · ${percent(own / load)} own` : 'no token';
    text(root, x1 + 8, label + 13, words, { size: 12, fill: last ? FAINT : INK, halo });
  }
}

function drawHeads(
  root: Mark,
  layers: number[],
  languages: TraceLanguage[],
  first: Map<string, Float64Array | null>,
  header: TraceHeader,
): void {
  const flowing = languages.filter(l => first.get(l.code)).length;
  const y = TOP - 34;
  const x = (column: number) => FIRST_X + (column * (LAST_X - FIRST_X - 14)) / layers.length;
  text(root, FIRST_X + 6, y, 'Language', { anchor: 'end', size: 13.5, weight: 'bold' });
  text(root, FIRST_X + 6, y + 15, `${flowing} languages, ${percent(1 / flowing)} each`, { anchor: 'end', fill: FAINT });
  for (const [i, layer] of layers.entries()) {
    const roomy = layers.length <= MOST_LABELLED;
    text(root, x(i + 1), y, roomy ? `Experts of layer ${layer}` : `Layer ${layer}`, { size: 13.5, weight: 'bold' });
    if (roomy || i === layers.length - 1) text(root, x(i + 1), y + 15, 'load · from own languages', { fill: FAINT });
    const skipped = roomy ? denseBetween(i === 0 ? -1 : layers[i - 1], layer, header) : '';
    if (skipped) text(root, (x(i) + x(i + 1)) / 2, y + 15, skipped, { anchor: 'middle', fill: FAINT });
  }
  line(root, 16, TOP - 10, WIDTH - 16, TOP - 10, '#D0D0D0', 0.8);
}

function denseBetween(from: number, to: number, header: TraceHeader): string {
  const dense = Array.from({ length: to - from - 1 }, (_, i) => from + 1 + i).filter(
    l => !header.moeLayers.includes(l),
  );
  if (dense.length === 0) return '';
  return dense.length === 1 ? `(layer ${dense[0]}: dense)` : `(layers ${dense[0]}–${dense.at(-1)}: dense)`;
}

function drawNotes(root: Mark, y: number, rest: number[], cut: number, layers: number[], header: TraceHeader): void {
  const k = header.expertsPerToken;
  const hue = rankColour(0);
  const chips: [string, number, string][] = [
    [hue, 0.82, 'strong colour: into the language’s own expert'],
    [hue, 0.34, 'pale: into another expert'],
    [REST, 0.4, 'grey: small flows, merged'],
  ];
  let x = 16;
  for (const [fill, opacity, words] of chips) {
    rect(root, x, y, 28, 11, fill).attr('fill-opacity', opacity);
    text(root, x + 34, y + 10, words, { size: 12 });
    x += 34 + words.length * 6.9 + 24;
  }
  const flowInto = (i: number) => `${percent(rest[i] ?? 0)} of the flow into layer ${layers[i]}`;
  const total = rest.reduce((a, b) => a + b, 0) / layers.length;
  const merged =
    layers.length > MOST_LABELLED ? `${percent(total)} of all flow` : layers.map((_, i) => flowInto(i)).join(' and ');
  const note =
    `Height = share of tokens (a token’s weight is split over its ${k} experts by its gates); hue = language family. ` +
    `Grey merges flows under ${percent(cut)} of all flow and under ${percent(KEPT_OF_GROUP)} of their language or family: ${merged}. ` +
    zeroTextNote(header);
  paragraph(root, 16, y + 34, WIDTH - 32, note.trim(), { fill: FAINT, size: 11.5 });
}
