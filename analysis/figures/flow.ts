// F7, alluvial picture: languages → stops of each MoE layer in turn, a stop being an expert or a band of experts
// (stops.ts). Ribbons are measured flows (M13), never products of margins; hue = family of the token's language;
// strong colour = into that family's own stop, pale = into another one. Each language with tokens has the same
// height. Small ribbons are merged into grey, their total is printed. What flows stands in ribbons.ts, where it
// stands in flow-layout.ts; here it is drawn.
import type { ColumnTable } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';
import type { Averaging } from '../usage.ts';
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
import { emptyFrame, frame } from './frame.ts';
import { grid } from './grid.ts';
import { languageOrder } from './order.ts';
import { mix, REST, rankColour } from './palette.ts';
import { csvOf, KEPT_OF_GROUP, mergeSmall, type Order, type Ribbon, ribbonsOf, stopOrders } from './ribbons.ts';
import { SHARED, type Stops, stopsOf } from './stops.ts';
import { FAINT, type Figure, finish, INK, line, type Mark, percent, rect, round, tag, text } from './svg.ts';

export interface FlowOptions {
  averaging: Averaging;
  /** `barycentre` moves stops to where their mass comes from; `entropic` puts specialists above and universal experts
   *  below (needs `universality`); `fixed` keeps numbers, so that a family's own flow runs straight. Default: fixed if
   *  every expert belongs to a family, else barycentre. */
  order?: Order;
  /** Ribbons below this share of all mass are merged into grey, unless they are a tenth of their group. Default 1 %. */
  cut?: number;
  /** The M9 table; with it, more than 12 experts are drawn in bands. */
  universality?: ColumnTable;
}

// With more layers than this, stops between the ends carry their number instead of a name.
const MOST_LABELLED = 3;
const NOTES = 34;

interface Scene {
  header: TraceHeader;
  languages: TraceLanguage[];
  /** Gate shares of the first drawn layer by language code. */
  first: Map<string, Float64Array | null>;
  layers: number[];
  stops: Stops;
  all: Ribbon[];
  hues: string[];
  /** Whether languages own stops, so that strong and pale can tell where they go. */
  owned: boolean;
}

/**
 * Draws 1 to 8 MoE layers. `gateUsage` is the usage table of the gate view, `flows` the M13 table between the drawn
 * layers (empty with one layer), both by language with the same averaging.
 */
export function flowPicture(
  gateUsage: ColumnTable,
  flows: ColumnTable,
  source: Provenance,
  options: FlowOptions,
): Figure {
  const { header } = source;
  const { cut = 0.01, order = defaultOrder(header) } = options;
  const drawn = new Set([...(flows.array('from') as ArrayLike<number> as number[])]);
  for (const to of flows.array('to') as ArrayLike<number> as number[]) drawn.add(to);
  const layers = drawn.size === 0 ? header.moeLayers.slice(-1) : [...drawn].sort((a, b) => a - b);
  const first = grid(gateUsage, 'share', header.numExperts).get(layers[0]) ?? new Map();
  const languages = languageOrder(gateUsage, header);
  const stops = stopsOf(header, options.universality);
  const flowing = languages.some(language => first.get(language.code));
  const all = flowing ? ribbonsOf(languages, first, flows, layers, stops, header) : [];
  const owned = all.some(ribbon => ribbon.own);
  const scene = { header, languages, first, layers, stops, all, hues: familyHues(header), owned };
  const { ribbons, rest } = mergeSmall(all, cut, languages.length);
  const words = wordsOf(scene, source, options, rest, cut);
  const csv = csvOf(all, languages, layers, stops, header);
  if (all.length === 0) {
    const why = 'No token was counted in these layers, so nothing flows.';
    return { name: 'flow', title: words.title, svg: finish(emptyFrame(words, why).root), csv };
  }
  const sheet = frame(WIDTH, TOP + columnHeight(languages) + NOTES, words);
  const root = sheet.root.append('g').attr('transform', `translate(0 ${sheet.top})`);
  const reached = stopOrders(all, languages.length, layers, stops, order).map((list, i) =>
    stops.kind === 'experts' ? list : list.filter(stop => all.some(r => r.stage === i && r.target === stop)),
  );
  const places = layout(languages, ribbons, reached, layers.length);
  const strength = (ribbon: Placed) => (ribbon.family < 0 ? 0 : ribbon.own ? 2 : 1);
  for (const ribbon of places.ribbons.sort((a, b) => strength(a) - strength(b))) drawRibbon(root, ribbon, scene);
  drawLanguages(root, scene);
  drawStops(root, places.nodes, scene);
  drawHeads(root, scene);
  drawKey(root, TOP + columnHeight(languages) + 18, scene);
  return { name: 'flow', title: words.title, svg: finish(sheet.root), csv };
}

const defaultOrder = (header: TraceHeader): Order =>
  expertFamilies(header).every(family => family !== null) ? 'fixed' : 'barycentre';

function wordsOf(
  { header, languages, first, layers, stops }: Scene,
  source: Provenance,
  { averaging }: FlowOptions,
  rest: number[],
  cut: number,
) {
  const flowing = languages.filter(l => first.get(l.code)).length;
  const families = new Set(languages.map(l => l.family)).size;
  const span = `${layers.length} layers, ${layers[0]} to ${layers.at(-1)}`;
  const few =
    layers.length === 1 ? `layer ${layers[0]}` : `layers ${layers.slice(0, -1).join(', ')} and ${layers.at(-1)}`;
  const where = layers.length > 4 ? span : few;
  const of = families === languages.length || families === 1 ? '' : ` of ${families} families`;
  const many = flowing === 0 ? 'languages flow' : `${flowing} languages${of} flow`;
  const who = flowing === 1 ? 'one language flows' : many;
  const skipped = header.moeLayers.length - layers.length;
  const merged = layers.map((layer, i) => `${percent(rest[i] ?? 0)} into ${layer}`).join(', ');
  const banded =
    `Bands: the family that uses an expert most compared with the others; shared: used alike by all languages ` +
    `(universality above ${SHARED}); other: dead, or of a smaller family.`;
  const caption = [
    provenance(source, 'gate', averaging),
    stops.kind === 'bands' ? banded : '',
    skipped > 0 && layers.length > 1
      ? `${layers.length} of ${header.moeLayers.length} MoE layers drawn; flow between them is counted, token by token.`
      : '',
    `Grey merges flows under ${percent(cut)} of all flow and under ${percent(KEPT_OF_GROUP)} of their language or family: ` +
      `${merged}.`,
    'Shares without intervals.',
    zeroTextNote(header),
  ];
  return {
    title: `How ${who} through the experts of ${where}`,
    reading:
      `Height is share of tokens; a token’s weight is split over its ${header.expertsPerToken} experts by its gates. ` +
      'Hue is language family.',
    caption: caption.filter(part => part !== '').join(' '),
  };
}

function drawRibbon(root: Mark, ribbon: Placed, scene: Scene): void {
  const { x0, x1, y0, y1, width, family, own } = ribbon;
  const middle = (x0 + x1) / 2;
  const half = Math.max(width, 0.4) / 2;
  const [a, b, c] = [x0, middle, x1].map(round);
  const [t0, t1, b0, b1] = [y0 - half, y1 - half, y0 + half, y1 + half].map(round);
  const path = `M${a},${t0}C${b},${t0} ${b},${t1} ${c},${t1}L${c},${b1}C${b},${b1} ${b},${b0} ${a},${b0}Z`;
  const mark = root.append('path').attr('d', path);
  mark.attr('fill', family < 0 ? REST : scene.hues[family]);
  mark.attr('fill-opacity', family < 0 ? 0.4 : own ? 0.82 : scene.owned ? 0.34 : 0.6);
  tag(mark, meaningOf(ribbon, scene));
}

function meaningOf(ribbon: Placed, { header, languages, layers, stops }: Scene) {
  const { stage, source, target, family, value } = ribbon;
  const layer = layers[stage];
  const into = `${stops.stops[target].name}, layer ${layer}`;
  const from = stage === 0 ? '' : ` from ${stops.stops[source].name}, layer ${layers[stage - 1]},`;
  const expert = stops.kind === 'experts' ? target : undefined;
  if (family < 0) return { layer, expert, tip: `small flows${from} to ${into}: ${percent(value)} of all` };
  const language = stage === 0 ? languages[source] : undefined;
  const name = language?.name ?? familiesOf(header)[family];
  const tip = `${name}${from} to ${into}: ${percent(value)} of all`;
  return { language: language?.code, family: familiesOf(header)[family], layer, expert, tip };
}

function drawLanguages(root: Mark, { header, languages, first, hues }: Scene): void {
  const tops = rowTops(languages);
  const [pitch, mass] = [pitchOf(languages), massOf(languages)];
  for (const [i, language] of languages.entries()) {
    const family = familiesOf(header).indexOf(language.family);
    const present = first.get(language.code) !== null && first.get(language.code) !== undefined;
    const box = rect(root, FIRST_X, tops[i] + (pitch - mass) / 2, 6, mass, present ? hues[family] : 'none');
    if (!present) box.attr('stroke', FAINT).attr('stroke-dasharray', '2 2').attr('stroke-width', 0.8);
    tag(box, { language: language.code, family: language.family });
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

/** Boxes and labels of the stops; the label says the load and how much of it comes from the stop's own languages. */
function drawStops(root: Mark, boxes: Box[], { layers, stops, all, hues, owned }: Scene): void {
  const labels = labelPlaces(boxes);
  for (const { node, x0, x1, y0, y1 } of boxes) {
    if (node.column === 0) continue;
    const { name, mark, family } = stops.stops[node.row];
    const fill = family < 0 ? (NEUTRAL[mark] ?? INK) : mix(hues[family], '#000000', 0.25);
    const layer = layers[node.column - 1];
    const into = all.filter(r => r.stage === node.column - 1 && r.target === node.row);
    const load = into.reduce((sum, r) => sum + r.value, 0);
    const own = into.filter(r => r.own).reduce((sum, r) => sum + r.value, 0);
    const origin = owned && (family >= 0 || stops.kind === 'experts') ? ` · ${percent(own / load)} own` : '';
    const words = load > 0 ? `${percent(load)}${origin}` : 'no token';
    const count = stops.of.get(layer)!.filter(stop => stop === node.row).length;
    const experts = stops.kind === 'bands' ? `, ${count === 1 ? '1 expert' : `${count} experts`}` : '';
    const expert = stops.kind === 'experts' ? node.row : undefined;
    tag(rect(root, x0, y0, x1 - x0, y1 - y0, fill), {
      layer,
      expert,
      tip: `${name}, layer ${layer}${experts}: ${words}`,
    });
    const last = node.column === layers.length;
    const label = labels.get(node.id)!;
    if (!last && layers.length > MOST_LABELLED) {
      const style = { anchor: 'middle' as const, size: 10, weight: 'bold' as const };
      if (y1 - y0 >= 11) text(root, (x0 + x1) / 2, (y0 + y1) / 2 + 3.6, mark, { ...style, fill: '#FFFFFF' });
      else text(root, x0 - 3, (y0 + y1) / 2 + 3.6, mark, { ...style, anchor: 'end', halo: 3 });
      continue;
    }
    const halo = last ? 0 : 4;
    const title = layers.length > MOST_LABELLED ? `${mark} ${name}` : name;
    text(root, x1 + 8, label - 2, title, { size: 13.5, weight: 'bold', halo });
    text(root, x1 + 8, label + 13, words, { size: 12, fill: last ? FAINT : INK, halo });
  }
}

/** Boxes of the stops of no family: what all share is ink, what is left is grey. */
const NEUTRAL: Record<string, string> = { O: '#7A7A7A' };

function drawHeads(root: Mark, { header, layers, languages, first, stops, owned }: Scene): void {
  const flowing = languages.filter(l => first.get(l.code)).length;
  const y = TOP - 26;
  const x = (column: number) => FIRST_X + (column * (LAST_X - FIRST_X - 14)) / layers.length;
  text(root, FIRST_X + 6, y, 'Language', { anchor: 'end', size: 13.5, weight: 'bold' });
  const each = flowing === 1 ? 'one language' : `${flowing} languages, ${percent(1 / flowing)} each`;
  text(root, FIRST_X + 6, y + 15, each, { anchor: 'end', fill: FAINT });
  const roomy = layers.length <= MOST_LABELLED;
  for (const [i, layer] of layers.entries()) {
    const what = stops.kind === 'bands' ? 'Bands' : 'Experts';
    text(root, x(i + 1), y, roomy ? `${what} of layer ${layer}` : `Layer ${layer}`, { size: 13.5, weight: 'bold' });
    const meaning = owned ? 'load · from own languages' : 'load';
    if (roomy || i === layers.length - 1) text(root, x(i + 1), y + 15, meaning, { fill: FAINT });
    const skipped = roomy ? denseBetween(i === 0 ? -1 : layers[i - 1], layer, header) : '';
    if (skipped) text(root, (x(i) + x(i + 1)) / 2, y + 15, skipped, { anchor: 'middle', fill: FAINT });
  }
  line(root, 16, TOP - 4, WIDTH - 16, TOP - 4, '#D0D0D0', 0.8);
}

function denseBetween(from: number, to: number, header: TraceHeader): string {
  const between = Array.from({ length: to - from - 1 }, (_, i) => from + 1 + i);
  const dense = between.filter(l => !header.moeLayers.includes(l));
  if (dense.length === 0) return '';
  return dense.length === 1 ? `(layer ${dense[0]}: dense)` : `(layers ${dense[0]}–${dense.at(-1)}: dense)`;
}

function drawKey(root: Mark, y: number, { stops, owned }: Scene): void {
  const hue = rankColour(0);
  const stop = stops.kind === 'bands' ? 'band' : 'expert';
  const strong: [string, number, string][] = [
    [hue, 0.82, `strong colour: into the ${stops.kind === 'bands' ? 'family' : 'language'}’s own ${stop}`],
    [hue, 0.34, `pale: into another ${stop}`],
  ];
  const chips: [string, number, string][] = [...(owned ? strong : []), [REST, 0.4, 'grey: small flows, merged']];
  let x = 16;
  for (const [fill, opacity, words] of chips) {
    rect(root, x, y, 28, 11, fill).attr('fill-opacity', opacity);
    text(root, x + 34, y + 10, words, { size: 12 });
    x += 34 + words.length * 6.9 + 24;
  }
}
