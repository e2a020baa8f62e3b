// The slots of one document, sorted, become one dense block; whatever would make a figure lie is refused in one sentence.
// A token may have fewer than k slots in a layer (dropped by capacity), or none where slots were dropped elsewhere too or k = 1.
// Else a layer without it is a gap, and so is one that a longer document misses altogether.
import type { CountRow, TraceColumns, TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import type { DocumentBlock } from '../block.ts';
import { slotsDropped } from './counts.ts';
import { AGAIN } from './header.ts';

/** Rows of trace.parquet; `row` numbers them in the file where they are not consecutive. */
export type SlotRows = Omit<TraceColumns, 'step'> & { row?: Int32Array };

/** Tokens of a document that capacity may be thought to have dropped in a layer without leaving one. */
export const MOST_DROPPED = 20;

export interface BlockContext {
  header: TraceHeader;
  /** Path in messages. */
  path: string;
  dropFirst: boolean;
  /** Index of each layer number in header.moeLayers; −1 for dense layers. */
  layerIndex: Int32Array;
  /** Language index by document. */
  languageOf: Int32Array;
  /** Slots are known to have been dropped by capacity. */
  dropped: boolean;
}

export function blockContext(header: TraceHeader, path: string, dropFirst: boolean, counts: CountRow[]): BlockContext {
  const layerIndex = new Int32Array(header.moeLayers.at(-1)! + 1).fill(-1);
  for (const [i, layer] of header.moeLayers.entries()) layerIndex[layer] = i;
  const dropped = header.expertsPerToken === 1 || slotsDropped(counts, header);
  return { header, path, dropFirst, layerIndex, languageOf: languageOfDocuments(header), dropped };
}

/** Language index of every document in the header. */
export function languageOfDocuments({ languages, documents }: TraceHeader): Int32Array {
  const index = new Map(languages.map((language, i) => [language.code, i]));
  return Int32Array.from(documents, document => index.get(document.language) ?? -1);
}

export interface MarkedBlock {
  block: DocumentBlock;
  /** [n] 1 for special tokens. */
  special: Uint8Array;
}

/** Rows [from, to) are those of one document. Throws UserError naming the first row that cannot be. */
export function blockOf(rows: SlotRows, from: number, to: number, context: BlockContext): MarkedBlock {
  const { header, layerIndex, languageOf, path } = context;
  const { expertsPerToken: k, moeLayers, documents } = header;
  const document = rows.document[from];
  if (!(document >= 0 && document < languageOf.length)) {
    throw refusal(rows, from, path, `document ${document} is not one of the ${languageOf.length} in the header`);
  }
  const { block, special } = emptyBlock(document, languageOf[document], countTokens(rows.position, from, to), header);
  let t = -1;
  let last = -1;
  for (let i = from; i < to; i++) {
    const opens = t < 0 || rows.position[i] !== block.position[t];
    const wrong = tokenFault(rows, i, from, opens) ?? slotFault(rows, i, opens ? -1 : last, block.language, context);
    if (wrong !== null) throw refusal(rows, i, path, wrong);
    if (opens) {
      t++;
      block.position[t] = rows.position[i];
      block.token[t] = rows.token[i];
      special[t] = rows.special[i];
      block.counted[t] = 1 - special[t];
    }
    last = layerIndex[rows.layer[i]] * k + rows.slot[i];
    const cell = t * moeLayers.length * k + last;
    for (let s = cell - rows.slot[i]; s < cell; s++) {
      if (block.expert[s] === rows.expert[i]) {
        throw refusal(rows, i, path, `expert ${rows.expert[i]} is chosen twice by one token`);
      }
    }
    block.expert[cell] = rows.expert[i];
    block.share[cell] = rows.gate[i];
  }
  const gap = shares(block, moeLayers.length, k, context.dropped);
  if (gap) {
    const where = `${documents[document].id}, position ${gap.position}`;
    throw refusal(rows, from, path, `${where}, has no slot in layer ${moeLayers[gap.layer]} but has in others`);
  }
  const firstContent = special.indexOf(0);
  if (context.dropFirst && firstContent >= 0) block.counted[firstContent] = 0;
  return { block, special };
}

function emptyBlock(document: number, language: number, tokens: number, header: TraceHeader): MarkedBlock {
  const slots = tokens * header.moeLayers.length * header.expertsPerToken;
  const block: DocumentBlock = {
    ...{ document, language, position: new Int32Array(tokens), token: new Int32Array(tokens) },
    counted: new Uint8Array(tokens),
    expert: new Int32Array(slots).fill(-1),
    share: new Float32Array(slots),
  };
  return { block, special: new Uint8Array(tokens) };
}

/** What is wrong with a row as one of a token that it opens, or that the row before belongs to. */
function tokenFault({ position, token, special }: SlotRows, i: number, from: number, opens: boolean): string | null {
  if (!opens) {
    if (token[i] === token[i - 1] && special[i] === special[i - 1]) return null;
    return 'token or special differs from the row before, though the position is the same';
  }
  if (position[i] < 0) return `position ${position[i]} is negative`;
  if (i > from && position[i] < position[i - 1]) {
    return `position ${position[i]} comes after position ${position[i - 1]} of the same document`;
  }
  if (special[i] !== 0 && special[i] !== 1) return `special is ${special[i]}, neither 0 nor 1`;
  return token[i] < 0 ? `token ${token[i]} is negative` : null;
}

/** What is wrong with a row as a slot; `last` is the place (layer · k + slot) of the one before it in the token, or −1. */
function slotFault(rows: SlotRows, i: number, last: number, own: number, context: BlockContext): string | null {
  const { layerIndex, header } = context;
  const { numExperts: E, expertsPerToken: k, moeLayers } = header;
  const [language, layer, slot, expert, gate] = [
    rows.language[i],
    rows.layer[i],
    rows.slot[i],
    rows.expert[i],
    rows.gate[i],
  ];
  if (language !== own) return languageFault(language, rows.document[i], header);
  const l = layer >= 0 && layer < layerIndex.length ? layerIndex[layer] : -1;
  if (l < 0) return `layer ${layer} is not one of the MoE layers ${moeLayers.join(', ')}`;
  if (!(slot >= 0 && slot < k)) return `slot ${slot} is outside 0…${k - 1}`;
  if (l * k + slot === last) return `slot ${slot} of layer ${layer} occurs twice in one token`;
  if (l * k + slot < last) return 'layers and slots of a token do not ascend';
  if (!(expert >= 0 && expert < E)) return `expert ${expert} is outside 0…${E - 1}`;
  return gate >= 0 && gate < Number.POSITIVE_INFINITY ? null : `gate ${gate} is not a weight`;
}

/** The refusal of row i of the slots. */
export function refusal(rows: SlotRows, i: number, path: string, what: string): UserError {
  return new UserError(`${path}, row ${rows.row?.[i] ?? i}: ${what}; see docs/trace.md and ${AGAIN}.`);
}

function languageFault(language: number, document: number, { languages, documents }: TraceHeader): string {
  if (!(language >= 0 && language < languages.length)) return `language ${language} is not in the header`;
  const { id, language: code } = documents[document];
  return `language ${languages[language].code} differs from ${code}, the language of document ${id}`;
}

function countTokens(position: Int32Array, from: number, to: number): number {
  let n = from < to ? 1 : 0;
  for (let i = from + 1; i < to; i++) if (position[i] !== position[i - 1]) n++;
  return n;
}

/** Gates become shares of their sum. Returns a token and layer without any slot where that is no dropping by capacity. */
function shares({ expert, share, position }: DocumentBlock, L: number, k: number, known: boolean) {
  let dropped = known;
  let gap: { position: number; layer: number } | null = null;
  const inLayer = new Uint8Array(L);
  for (let cell = 0; cell < expert.length; cell += k) {
    let sum = 0;
    let slots = 0;
    for (let s = cell; s < cell + k; s++) {
      if (expert[s] < 0) continue;
      sum += share[s];
      slots++;
    }
    const layer = (cell / k) % L;
    if (slots === 0) gap ??= { position: position[Math.floor(cell / k / L)], layer };
    else inLayer[layer] = 1;
    if (slots > 0 && slots < k) dropped = true;
    for (let s = cell; s < cell + k; s++) if (expert[s] >= 0) share[s] = sum > 0 ? share[s] / sum : 1 / slots;
  }
  const missing = inLayer.indexOf(0);
  if (missing >= 0 && position.length > MOST_DROPPED) return { position: position[0], layer: missing };
  return dropped ? null : gap;
}
