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

/** Rows [from, to) are those of one document; `first` is the number in the file of row 0. Throws UserError. */
export function blockOf(rows: SlotRows, from: number, to: number, first: number, context: BlockContext): MarkedBlock {
  const { header, layerIndex, languageOf } = context;
  const { numExperts: E, expertsPerToken: k, moeLayers } = header;
  const { position, token, language, layer, slot, expert, gate } = rows;
  const special = new Uint8Array(countTokens(position, from, to));
  const document = rows.document[from];
  const refuse = (i: number, what: string) => refusal(rows, i, first, context.path, what);
  if (!(document >= 0 && document < languageOf.length)) {
    throw refuse(from, `document ${document} is not one of the ${languageOf.length} in the header`);
  }
  const L = moeLayers.length;
  const n = special.length;
  const block: DocumentBlock = {
    document,
    language: languageOf[document],
    position: new Int32Array(n),
    token: new Int32Array(n),
    counted: new Uint8Array(n),
    expert: new Int32Array(n * L * k).fill(-1),
    share: new Float32Array(n * L * k),
  };
  let t = -1;
  let at = -1;
  for (let i = from; i < to; i++) {
    if (t < 0 || position[i] !== block.position[t]) {
      if (position[i] < 0) throw refuse(i, `position ${position[i]} is negative`);
      if (t >= 0 && position[i] < block.position[t]) {
        throw refuse(i, `position ${position[i]} comes after position ${block.position[t]} of the same document`);
      }
      t++;
      block.position[t] = position[i];
      block.token[t] = token[i];
      if (rows.special[i] !== 0 && rows.special[i] !== 1) {
        throw refuse(i, `special is ${rows.special[i]}, neither 0 nor 1`);
      }
      special[t] = rows.special[i];
      block.counted[t] = 1 - special[t];
      if (token[i] < 0) throw refuse(i, `token ${token[i]} is negative`);
      at = -1;
    } else if (token[i] !== block.token[t] || rows.special[i] !== special[t]) {
      throw refuse(i, 'token or special differs from the row before, though the position is the same');
    }
    if (language[i] !== block.language) throw refuse(i, languageFault(language[i], document, header));
    const l = layer[i] >= 0 && layer[i] < layerIndex.length ? layerIndex[layer[i]] : -1;
    if (l < 0) throw refuse(i, `layer ${layer[i]} is not one of the MoE layers ${moeLayers.join(', ')}`);
    if (!(slot[i] >= 0 && slot[i] < k)) throw refuse(i, `slot ${slot[i]} is outside 0…${k - 1}`);
    const place = l * k + slot[i];
    if (place === at) throw refuse(i, `slot ${slot[i]} of layer ${layer[i]} occurs twice in one token`);
    if (place < at) throw refuse(i, 'layers and slots of a token do not ascend');
    at = place;
    if (!(expert[i] >= 0 && expert[i] < E)) throw refuse(i, `expert ${expert[i]} is outside 0…${E - 1}`);
    if (!(gate[i] >= 0 && gate[i] < Number.POSITIVE_INFINITY)) throw refuse(i, `gate ${gate[i]} is not a weight`);
    const cell = t * L * k + place;
    for (let s = cell - slot[i]; s < cell; s++) {
      if (block.expert[s] === expert[i]) throw refuse(i, `expert ${expert[i]} is chosen twice by one token`);
    }
    block.expert[cell] = expert[i];
    block.share[cell] = gate[i];
  }
  const gap = shares(block, L, k, context.dropped);
  if (gap)
    throw refuse(
      from,
      `${header.documents[document].id}, position ${gap.position}, has no slot in layer ${moeLayers[gap.layer]} but has in others`,
    );
  const firstContent = special.indexOf(0);
  if (context.dropFirst && firstContent >= 0) block.counted[firstContent] = 0;
  return { block, special };
}

/** The refusal of row i of the slots. */
export function refusal(rows: SlotRows, i: number, first: number, path: string, what: string): UserError {
  return new UserError(`${path}, row ${rows.row?.[i] ?? first + i}: ${what}; see docs/trace.md and ${AGAIN}.`);
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
