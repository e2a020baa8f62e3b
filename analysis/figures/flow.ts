// Alluvial picture: languages → experts of each MoE layer in turn. Ribbons are measured flows (M13), never products of
// margins; hue = family of the token's language; strong colour = into that family's own expert, pale = into another one.
// Each language with tokens has the same height. Small ribbons are merged into grey, their total is printed.
import { type ColumnTable, from } from 'arquero';
import { sankey } from 'd3-sankey';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import type { FlowRow } from '../flow.ts';
import { familiesOf } from '../table.ts';
import { type Averaging, shareRows } from '../usage.ts';
import { expertFamilies, familyHues, type Provenance, provenance, zeroTextNote } from './caption.ts';
import { barycentreOrder } from './order.ts';
import { mix, REST, rankColour } from './palette.ts';
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

const WIDTH = 1200;
const TOP = 132;
const LEAST_PITCH = 16.5;
const LEAST_HEIGHT = 560;
const FAMILY_GAP = 11;
const FIRST_X = 286;
const LAST_X = WIDTH - 196;
// With more layers than this, experts between the ends carry their number instead of a name.
const MOST_LABELLED = 3;
const LABEL_GAP = 31;
const KEPT_OF_GROUP = 0.1;

/** A ribbon: mass of one family's languages (a single language in the first stage) between two nodes. */
export interface Ribbon {
  stage: number;
  source: number;
  target: number;
  /** Index of the family, −1 when merged. */
  family: number;
  value: number;
  own: boolean;
}
interface Node {
  id: string;
  column: number;
  row: number;
}

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

/** Unmerged ribbons: stage 0 per language and expert, later stages per family and pair of experts. Each stage sums to 1. */
function ribbonsOf(
  languages: TraceLanguage[],
  first: Map<string, Float64Array | null>,
  flows: FlowRow[],
  layers: number[],
  header: TraceHeader,
): Ribbon[] {
  const families = familiesOf(header);
  const familyOf = new Map(languages.map(l => [l.code, families.indexOf(l.family)]));
  const owned = new Set(languages.map(l => `${families.indexOf(l.family)} ${l.expert}`));
  const n = languages.filter(l => first.get(l.code)).length;
  const ribbons: Ribbon[] = languages.flatMap((language, source) => {
    const q = first.get(language.code);
    const family = families.indexOf(language.family);
    return Array.from(q ?? [], (share, target): Ribbon => {
      return { stage: 0, source, target, family, value: share / n, own: target === language.expert };
    });
  });
  const later = new Map<string, Ribbon>();
  for (const { from, source, target, group, flow } of flows) {
    const family = familyOf.get(group) ?? 0;
    const stage = layers.indexOf(from) + 1;
    const key = `${stage} ${source} ${target} ${family}`;
    const ribbon = later.get(key) ?? { stage, source, target, family, value: 0, own: owned.has(`${family} ${target}`) };
    later.set(key, { ...ribbon, value: ribbon.value + flow / n });
  }
  return [...ribbons, ...later.values()].filter(ribbon => ribbon.value > 0);
}

function expertOrders(
  all: Ribbon[],
  rows: number,
  E: number,
  layers: number,
  order: 'barycentre' | 'fixed',
): number[][] {
  const links = Array.from({ length: layers }, (_, stage) =>
    Array.from({ length: stage === 0 ? rows : E }, () => new Array<number>(E).fill(0)),
  );
  for (const { stage, source, target, value } of all) links[stage][source][target] += value;
  return order === 'fixed' ? links.map(link => link[0].map((_, e) => e)) : barycentreOrder(links);
}

/** Merges what is under `cut` of the layer and under a tenth of its group into grey; says how much that is per stage. */
function mergeSmall(all: Ribbon[], cut: number, rows: number): { ribbons: Ribbon[]; rest: number[] } {
  const group = (r: Ribbon) => (r.stage === 0 ? r.source : rows * r.stage + r.family);
  const mass = new Map<number, number>();
  for (const r of all) mass.set(group(r), (mass.get(group(r)) ?? 0) + r.value);
  const rest: number[] = [];
  const merged = new Map<string, Ribbon>();
  const kept: Ribbon[] = [];
  for (const r of all) {
    rest[r.stage] ??= 0;
    if (r.value >= cut || r.value >= KEPT_OF_GROUP * mass.get(group(r))!) {
      kept.push(r);
      continue;
    }
    rest[r.stage] += r.value;
    const key = `${r.stage} ${r.source} ${r.target}`;
    const value = (merged.get(key)?.value ?? 0) + r.value;
    merged.set(key, { ...r, family: -1, own: false, value });
  }
  return { ribbons: [...merged.values(), ...kept], rest };
}

interface Box {
  node: Node;
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}
interface Placed extends Ribbon {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
  width: number;
}

/** d3-sankey sizes and stacks the ribbons; the rows of each column are spread here, because languages need label room. */
function layout(languages: TraceLanguage[], ribbons: Ribbon[], orders: number[][], layers: number) {
  const n = new Set(ribbons.filter(r => r.stage === 0).map(r => r.source)).size;
  const rank = (column: number, row: number) => (column === 0 ? row : orders[column - 1].indexOf(row));
  const sorted = [...ribbons].sort(
    (a, b) =>
      a.stage - b.stage ||
      rank(a.stage, a.source) - rank(b.stage, b.source) ||
      rank(a.stage + 1, a.target) - rank(b.stage + 1, b.target) ||
      a.family - b.family,
  );
  const links = sorted.map(r => ({
    ...r,
    source: `${r.stage} ${r.source}`,
    target: `${r.stage + 1} ${r.target}`,
    ribbon: r,
  }));
  const experts = orders.flatMap((order, i) => order.map(e => `${i + 1} ${e}`));
  const used = [...new Set([...links.map(link => link.source), ...experts])];
  const nodes: Node[] = used.map(id => ({ id, column: Number(id.split(' ')[0]), row: Number(id.split(' ')[1]) }));
  nodes.sort((a, b) => a.column - b.column || rank(a.column, a.row) - rank(b.column, b.row));
  const plan = sankey<Node, (typeof links)[number]>()
    .nodeId(node => node.id)
    .nodeAlign(node => node.column)
    .nodeSort(null)
    .linkSort(null)
    .nodePadding(0)
    .nodeWidth(14)
    .extent([
      [FIRST_X, TOP],
      [LAST_X, TOP + n * massOf(languages)],
    ]);
  const graph = plan({ nodes, links });
  spread(graph.nodes as unknown as (Node & Box)[], languages, layers);
  plan.update(graph);
  const boxes = graph.nodes.map(node => ({ node, x0: node.x0!, x1: node.x1!, y0: node.y0!, y1: node.y1! }));
  const placed = graph.links.map(link => {
    const [from, to] = [link.source as unknown as Box, link.target as unknown as Box];
    return { ...link.ribbon, x0: from.x1, x1: to.x0, y0: link.y0!, y1: link.y1!, width: link.width! };
  });
  return { nodes: boxes as Box[], ribbons: placed as Placed[] };
}

/** Moves the boxes of a column apart: languages to their label rows, experts evenly over the same height. */
function spread(boxes: (Node & Box)[], languages: TraceLanguage[], layers: number): void {
  const tops = rowTops(languages);
  const total = columnHeight(languages);
  for (let column = 0; column <= layers; column++) {
    const mine = boxes.filter(box => box.column === column);
    const mass = mine.reduce((sum, box) => sum + box.y1 - box.y0, 0);
    const gap = mine.length > 1 ? (total - mass) / (mine.length - 1) : 0;
    let y = TOP;
    for (const box of mine) {
      const height = box.y1 - box.y0;
      box.y0 = column === 0 ? tops[box.row] + (pitchOf(languages) - height) / 2 : y;
      box.y1 = box.y0 + height;
      if (column === 0) box.x1 = box.x0 + 6;
      y += height + gap;
    }
  }
}

/** Height of a language's row; few languages spread over the least height, so that expert labels find room. */
const pitchOf = (languages: TraceLanguage[]): number => Math.max(LEAST_PITCH, LEAST_HEIGHT / languages.length);
/** Height of a language's mass inside its row. */
const massOf = (languages: TraceLanguage[]): number => Math.min(pitchOf(languages) - 2.5, 30);

function rowTops(languages: TraceLanguage[]): number[] {
  let y = TOP;
  return languages.map((language, i) => {
    if (i > 0 && languages[i - 1].family !== language.family) y += FAMILY_GAP;
    y += pitchOf(languages);
    return y - pitchOf(languages);
  });
}
const columnHeight = (languages: TraceLanguage[]): number => rowTops(languages).at(-1)! + pitchOf(languages) - TOP;

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

/** Middle of each expert's label: at its box, but never on the neighbour's. */
function labelPlaces(boxes: Box[]): Map<string, number> {
  const places = new Map<string, number>();
  for (const column of new Set(boxes.map(box => box.node.column))) {
    const mine = boxes.filter(box => box.node.column === column);
    const middles = mine.map(({ y0, y1 }) => (y0 + y1) / 2);
    const moved = apart(middles, LABEL_GAP, TOP + 9, mine.at(-1)!.y1 + 4);
    for (const [i, { node }] of mine.entries()) places.set(node.id, moved[i]);
  }
  return places;
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

function csvOf(all: Ribbon[], languages: TraceLanguage[], layers: number[], header: TraceHeader): string {
  const families = familiesOf(header);
  const rows = all.map(r => ({
    from: r.stage === 0 ? 'language' : `layer ${layers[r.stage - 1]}`,
    source: r.stage === 0 ? languages[r.source].code : header.expertNames[r.source],
    to: `layer ${layers[r.stage]}`,
    target: header.expertNames[r.target],
    family: families[r.family],
    flow: r.value,
  }));
  return from(rows).toCSV();
}
