// F14, token strip: a document's tokens as running text; below each a column of stripes, one per MoE layer from the
// first (top) to the last, in the colour of the band of its first choice (stops.ts): a family's hue, grey where all
// languages share the expert. Examples beside the aggregates. A token carries its bands (`data-bands`, one mark a
// layer) for a page to use.
import { type ColumnTable, from } from 'arquero';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { expertLabel, type Provenance, zeroTextNote } from './caption.ts';
import { familyKey, familyKeyHeight } from './family-key.ts';
import { type FamilyStyle, familyStyles } from './family-style.ts';
import { emptyFrame, frame, SHEET, SMALL } from './frame.ts';
import { inkOn } from './palette.ts';
import { bands, SHARED, type Stops } from './stops.ts';
import { FAINT, type Figure, finish, type Mark, rect, round, tag, text } from './svg.ts';

export interface TokensOptions {
  language: TraceLanguage;
  /** What the document is, for the caption. */
  document: string;
  /** Tokens drawn at most. Default 80. */
  mostTokens?: number;
}

interface Token {
  position: number;
  words: string;
  counted: boolean;
  /** [L] expert and its band; −1 where the token has no slot. */
  experts: number[];
  bands: number[];
  x: number;
  line: number;
  width: number;
}

const LEFT = 52;
const MARGIN = 16;
const TEXT = 16;
const LINE_GAP = 14;
const SIZE = 11.5;
/** Height of a stripe in px, between these, so that all layers of a line take about DEPTH px. */
const STRIPE = { least: 2, most: 11 };
const DEPTH = 104;
/** Stripes at least this high carry the band's mark. */
const MARKED = 10;
const GREY = { shared: '#D3D3D3', other: '#8F8F8F', none: '#FFFFFF' };

/** Draws the table of document-tokens.ts (position, text, layer, expert); bands come from the M9 table. */
export function tokenStrip(
  tokens: ColumnTable,
  universality: ColumnTable,
  source: Provenance,
  options: TokensOptions,
): Figure {
  const { header } = source;
  const stops = bands(header, universality);
  const all = read(tokens, stops, header);
  const drawn = all.slice(0, options.mostTokens ?? 80);
  const words = wordsOf(all.length, drawn, stops, source, options);
  const csv = csvOf(drawn, stops, header);
  if (drawn.length === 0) {
    const why = 'The document has no token with a slot.';
    return { name: 'tokens', title: words.title, svg: finish(emptyFrame(words, why).root), csv };
  }
  const stripe = Math.max(STRIPE.least, Math.min(STRIPE.most, round(DEPTH / header.moeLayers.length)));
  const depth = stripe * header.moeLayers.length;
  const lines = layOut(drawn);
  const used = new Set(drawn.flatMap(token => token.bands));
  const styles = familyStyles(header).filter(style => {
    return stops.stops.some((stop, i) => used.has(i) && stop.name === style.family && stop.family >= 0);
  });
  const key =
    styles.length === 0 ? 18 : 20 + familyKeyHeight(styles, SHEET - 2 * MARGIN, ({ family }) => `0 ${family}`);
  const sheet = frame(SHEET, lines * (TEXT + depth + LINE_GAP) + key + 12, words);
  const colours = stops.stops.map(({ family, mark }) => colourOf(family, mark, header));
  const root = sheet.root.append('g').attr('data-layers', header.moeLayers.join(','));
  root.attr('data-marks', stops.stops.map(({ mark }) => mark).join(',')).attr('data-colours', colours.join(','));
  for (let line = 0; line < lines; line++) {
    const top = sheet.top + 4 + line * (TEXT + depth + LINE_GAP);
    drawAxis(root, top + TEXT, depth, header);
    for (const token of drawn) if (token.line === line) drawToken(root, token, top, stripe, stops, colours, header);
  }
  drawKey(sheet.root, sheet.bottom - key + 12, styles, used, stops);
  return { name: 'tokens', title: words.title, svg: finish(sheet.root), csv };
}

const colourOf = (family: number, mark: string, header: TraceHeader): string =>
  family >= 0 ? familyStyles(header)[family].hue : mark === 'S' ? GREY.shared : GREY.other;

function read(table: ColumnTable, stops: Stops, { moeLayers }: TraceHeader): Token[] {
  const tokens = new Map<number, Token>();
  const names = table.columnNames();
  const [position, words, layer, expert] = ['position', 'text', 'layer', 'expert'].map(
    name => table.array(name) as ArrayLike<unknown>,
  );
  const counted = names.includes('counted') ? (table.array('counted') as ArrayLike<number>) : null;
  for (let i = 0; i < table.numRows(); i++) {
    const at = position[i] as number;
    const l = moeLayers.indexOf(layer[i] as number);
    if (l < 0) continue;
    if (!tokens.has(at)) {
      const none = () => moeLayers.map(() => -1);
      const shown = { words: visible(words[i] as string), counted: counted === null || counted[i] === 1 };
      tokens.set(at, { position: at, ...shown, experts: none(), bands: none(), x: 0, line: 0, width: 0 });
    }
    if (expert[i] === null) continue;
    tokens.get(at)!.experts[l] = expert[i] as number;
    tokens.get(at)!.bands[l] = stops.of.get(moeLayers[l])![expert[i] as number];
  }
  return [...tokens.values()].filter(token => token.experts.some(e => e >= 0));
}

/** Line breaks, tabs and other characters without a shape become visible ones; long tokens are cut. */
function visible(words: string): string {
  const shown = words
    .replaceAll('\n', '⏎')
    .replaceAll('\t', '⇥')
    .replace(/[\p{Cc}\p{Cs}\p{Co}\p{Cn}\uFFFD]/gu, '·');
  const letters = Array.from(shown);
  return letters.length > 24 ? `${letters.slice(0, 23).join('')}…` : shown;
}

/** Characters of East Asian scripts take a whole em. */
const widthOf = (words: string): number =>
  Array.from(words).reduce(
    (sum, letter) =>
      sum + (/[\u1100-\u11FF\u2E80-\uA4CF\uAC00-\uD7AF\uF900-\uFAFF\uFF00-\uFF60]/.test(letter) ? 1 : 0.58),
    0,
  ) * SIZE;

/** Breaks tokens into lines; returns how many. */
function layOut(tokens: Token[]): number {
  let [x, line] = [LEFT, 0];
  for (const token of tokens) {
    token.width = Math.max(9, widthOf(token.words.trim() || '␣␣') + 5);
    if (x + token.width > SHEET - MARGIN && x > LEFT) [x, line] = [LEFT, line + 1];
    // a token that begins a word stands a little off the one before
    if (x > LEFT && /^[\s▁Ġ]/.test(token.words)) x += 3;
    Object.assign(token, { x, line });
    x += token.width + 1;
  }
  return line + 1;
}

function drawAxis(root: Mark, y: number, depth: number, { moeLayers }: TraceHeader): void {
  const style = { anchor: 'end' as const, size: SMALL, fill: FAINT };
  text(root, LEFT - 6, y + 8, moeLayers.length > 1 ? `${moeLayers[0]}` : `layer ${moeLayers[0]}`, style);
  if (moeLayers.length > 1) text(root, LEFT - 6, y + depth, `${moeLayers.at(-1)}`, style);
  if (depth >= 40) text(root, LEFT - 6, y + depth / 2 + 4, 'layer', style);
}

/** The word, and its column in as few strokes as it has stretches of one band. */
function drawToken(
  root: Mark,
  token: Token,
  top: number,
  stripe: number,
  stops: Stops,
  colours: string[],
  header: TraceHeader,
): void {
  const { x, width, words, counted, experts, bands: chosen, position } = token;
  const group = root.append('g').attr('data-bands', chosen.map(band => stops.stops[band]?.mark ?? '-').join(''));
  tag(group, { tip: tipOf(token, stops, header) }).attr('data-position', position);
  rect(group, x, top, width, TEXT, '#FFFFFF');
  text(group, x + 2, top + 12, words.trim().replace(/^[▁Ġ]/, '') || '␣', {
    size: SIZE,
    fill: counted ? undefined : FAINT,
  });
  const y = (l: number) => round(top + TEXT + l * stripe);
  for (let start = 0; start < experts.length; ) {
    let end = start + 1;
    while (end < experts.length && chosen[end] === chosen[start]) end++;
    const band = chosen[start];
    if (band >= 0) {
      const stop = stops.stops[band];
      const mark = rect(group, x, y(start), width, y(end) - y(start), colours[band]);
      if (stop.family >= 0) tag(mark, { family: stop.name });
      if (stripe >= MARKED) drawMark(group, x + width / 2, (y(start) + y(end)) / 2, stop.mark, colours[band]);
    }
    start = end;
  }
}

/** The band's mark doubles its hue. */
function drawMark(into: Mark, x: number, y: number, mark: string, ground: string): void {
  text(into, x, y + 3.2, mark, { anchor: 'middle', size: 9, fill: inkOn(ground) }).attr('pointer-events', 'none');
}

function tipOf({ words, position, bands: chosen, experts }: Token, { stops }: Stops, header: TraceHeader): string {
  const count = stops.map((_, band) => chosen.filter(c => c === band).length);
  const ranked = [...count.keys()].filter(band => count[band] > 0).sort((a, b) => count[b] - count[a]);
  const told = ranked.slice(0, 3).map(band => `${stops[band].name} in ${count[band]}`);
  const last = experts.at(-1)!;
  const ends = last < 0 ? '' : `; layer ${header.moeLayers.at(-1)}: ${expertLabel(header, last)}`;
  return `“${words}”, position ${position}. Layers: ${told.join(', ')}${ends}`;
}

function wordsOf(
  count: number,
  drawn: Token[],
  { stops }: Stops,
  { header, step }: Provenance,
  { language, document }: TokensOptions,
) {
  const own = stops.findIndex(({ name, family }) => family >= 0 && name === language.family);
  const shareAt = (l: number) => {
    const routed = drawn.filter(token => token.bands[l] >= 0);
    return routed.length === 0 ? null : routed.filter(token => token.bands[l] === own).length / routed.length;
  };
  const [first, last] = [shareAt(0), shareAt(header.moeLayers.length - 1)];
  const known = drawn.some(token => token.bands.some(band => band >= 0 && stops[band].mark !== 'O'));
  const words = (share: number | null) => `${Math.round((share ?? 0) * 100)} %`;
  const parted = drawn.some(token => token.bands.some(band => band >= 0 && stops[band].family >= 0));
  const title = titleOf(language, own >= 0 && known, parted, header, words(first), words(last));
  const cut = drawn.length < count ? `The first ${drawn.length} of ${count} tokens.` : `${count} tokens.`;
  const caption = [
    `View: selection, first choice only. One document in ${language.name}: ${document}. ${cut}`,
    `Model ${header.model}, run ${header.run}${step === null ? '' : `, step ${step}`}.`,
    `Band of an expert: the family that uses it most compared with the others; shared above universality ${SHARED}.`,
    'One text is an example, no estimate: no interval.',
    zeroTextNote({ ...header, languages: [language] }),
  ];
  const reading =
    'Below each token one stripe per MoE layer, first layer on top, coloured by the expert it chose first.';
  return { title, reading, caption: caption.filter(Boolean).join(' ') };
}

function titleOf(
  { name, family }: TraceLanguage,
  known: boolean,
  parted: boolean,
  { moeLayers }: TraceHeader,
  first: string,
  last: string,
): string {
  if (!known) return `Where the tokens of one text in ${name} go`;
  if (!parted) return `One text in ${name}: its tokens choose experts that all languages share`;
  if (moeLayers.length === 1) return `${last} of this text’s tokens choose ${family} experts first`;
  return `First choices in ${family} experts: ${first} in layer ${moeLayers[0]}, ${last} in ${moeLayers.at(-1)}`;
}

function drawKey(root: Mark, y: number, styles: FamilyStyle[], used: Set<number>, { stops }: Stops): void {
  let x = MARGIN;
  const greys: [string, string, string][] = [
    ['S', GREY.shared, 'S shared by all languages'],
    ['O', GREY.other, 'O other'],
  ];
  for (const [mark, colour, words] of greys) {
    if (!used.has(stops.findIndex(stop => stop.mark === mark))) continue;
    rect(root, x, y - 8.5, 10, 10, colour);
    text(root, x + 14, y, words, { size: SMALL });
    x += 14 + words.length * 6.2 + 12;
  }
  if (styles.length === 0) return;
  text(root, x, y, 'else the family that uses the expert most:', { size: SMALL, fill: FAINT });
  familyKey(root, { x: MARGIN, y: y + 18, width: SHEET - 2 * MARGIN }, styles, 'swatch', ({ family }) => {
    return `${stops.find(stop => stop.name === family)!.mark} ${family}`;
  });
}

function csvOf(tokens: Token[], { stops }: Stops, { moeLayers }: TraceHeader): string {
  const rows = tokens.flatMap(({ position, words, experts, bands: chosen }) =>
    moeLayers.map((layer, l) => ({
      ...{ position, text: words, layer, expert: experts[l] < 0 ? null : experts[l] },
      band: stops[chosen[l]]?.name ?? null,
    })),
  );
  return from(rows).toCSV();
}
