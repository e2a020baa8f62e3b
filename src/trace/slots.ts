// The routed slots of a set of documents, one place for every token, layer and choice: the order in which a trace is written, so
// that nothing is ever sorted. Six bytes a slot: 19 million of them are 115 MB. Rows of ten columns are made when they are asked for.
// Shapes: D documents, N tokens of all documents, L MoE layers, E experts, k choices.
import type { Trace, TraceColumns } from '../../routing/trace.ts';

export interface Slots {
  step: number;
  /** [L] their numbers in the model, ascending. */
  layers: number[];
  experts: number;
  k: number;
  /** [D] index into the header's languages. */
  language: Int32Array;
  /** [D + 1] tokens before each document. */
  start: Int32Array;
  /** [D] position of the first token that is there: 0, or more where the beginning of a document was not recorded. */
  from: Int32Array;
  /** [N] */
  token: Int32Array;
  /** [N] 1: special. */
  special: Uint8Array;
  /** [N · L · k] NO_EXPERT where the token has no slot. */
  expert: Uint16Array;
  gate: Float32Array;
}

export const NO_EXPERT = 0xffff;
/** What Slots hold of each slot, and of each token beside its slots. */
export const SLOT_BYTES = 6;

export interface SlotDocument {
  language: number;
  ids: Int32Array;
  special: Uint8Array;
  from?: number;
}

/** Room for the slots of documents, none filled. @throws Error for more experts than an id of two bytes can name */
export function emptySlots(
  documents: readonly SlotDocument[],
  shape: Pick<Slots, 'step' | 'layers' | 'experts' | 'k'>,
): Slots {
  if (shape.experts >= NO_EXPERT) throw new Error(`${shape.experts} experts do not fit into two bytes`);
  const start = new Int32Array(documents.length + 1);
  documents.forEach(({ ids }, d) => {
    start[d + 1] = start[d] + ids.length;
  });
  const tokens = start[documents.length];
  const token = new Int32Array(tokens);
  const special = new Uint8Array(tokens);
  documents.forEach((document, d) => {
    token.set(document.ids, start[d]);
    special.set(document.special, start[d]);
  });
  const places = tokens * shape.layers.length * shape.k;
  return {
    ...shape,
    language: Int32Array.from(documents, document => document.language),
    start,
    from: Int32Array.from(documents, document => document.from ?? 0),
    token,
    special,
    expert: new Uint16Array(places).fill(NO_EXPERT),
    gate: new Float32Array(places),
  };
}

/** Place of the first choice of token n (of all tokens) in the l-th MoE layer. */
export const placeOf = ({ layers, k }: Slots, n: number, l: number): number => (n * layers.length + l) * k;

/** Token (of all) that is the first content token of a document; −1 where there is none, or it was not recorded. */
export function firstContent({ start, from, special }: Slots, d: number): number {
  if (from[d] > 0) return -1;
  const at = special.subarray(start[d], start[d + 1]).indexOf(0);
  return at < 0 ? -1 : start[d] + at;
}

/** Rows of trace.parquet of the documents [first, end). */
export function slotRows(slots: Slots, first: number, end: number): TraceColumns {
  const { start, from, layers, k, expert, gate } = slots;
  const [begin, stop] = [placeOf(slots, start[first], 0), placeOf(slots, start[end], 0)];
  let filled = 0;
  for (let i = begin; i < stop; i++) if (expert[i] !== NO_EXPERT) filled++;
  const rows = emptyRows(filled);
  rows.step.fill(slots.step);
  let row = 0;
  for (let d = first; d < end; d++) {
    for (let n = start[d]; n < start[d + 1]; n++) {
      for (let l = 0; l < layers.length; l++) {
        let chosen = 0;
        const at = placeOf(slots, n, l);
        for (let i = at; i < at + k; i++) {
          if (expert[i] === NO_EXPERT) continue;
          rows.document[row] = d;
          rows.position[row] = from[d] + n - start[d];
          rows.token[row] = slots.token[n];
          rows.language[row] = slots.language[d];
          rows.layer[row] = layers[l];
          rows.slot[row] = chosen++; // counts up from 0 also where a choice before it was dropped
          rows.expert[row] = expert[i];
          rows.gate[row] = gate[i];
          rows.special[row++] = slots.special[n];
        }
      }
    }
  }
  return rows;
}

export function emptyRows(length: number): TraceColumns {
  const integers = (): Int32Array => new Int32Array(length);
  return {
    ...{ step: integers(), document: integers(), position: integers(), token: integers(), language: integers() },
    ...{ layer: integers(), slot: integers(), expert: integers(), special: integers() },
    gate: new Float32Array(length),
  };
}

/** Documents in groups whose rows are at most `rows`, or one document: [first, end). */
export function* groupsOf(slots: Slots, rows: number): Generator<[first: number, end: number]> {
  const { start, language } = slots;
  const perToken = slots.layers.length * slots.k;
  let first = 0;
  for (let d = 1; d <= language.length; d++) {
    if (d < language.length && (start[d + 1] - start[first]) * perToken <= rows) continue;
    yield [first, d];
    first = d;
  }
}

/** All rows at once, for traces that are small. */
export const allRows = (slots: Slots): Trace['columns'] => slotRows(slots, 0, slots.language.length);
