// Token documents → rows of S positions. A document longer than S is cut into windows of S (each keeps the document's index;
// positions restart); a window is never cut again: it goes whole into the first row of the batch with room for it. Windows
// are taken in order; one that fits nowhere waits for the next batch, where it comes first.
//   isolated      a window attends only to itself and its positions start at 0 (default)
//   concatenated  one causal mask over the row, positions run on over documents: as ApolloMoE packs
// label[t] is the next id of the document, also across a cut, so each id but the first of a document is learnt exactly once.
import type { Batch, TokenDocument } from './types.ts';

export type Packing = 'isolated' | 'concatenated';
export const NO_LABEL = -100;

export interface PackOptions {
  batch: number;
  sequence: number;
  /** Id written on padding: EOS, as in Qwen2. */
  padId: number;
  packing: Packing;
}

/** How many windows may be passed over before a batch is closed: fills rows to about 98 %. Concatenated packs keep the strict
 *  order of the paper's draw, so the first window without room closes the batch. */
const PASSED_OVER: Record<Packing, number> = { isolated: 16, concatenated: 1 };

/** Ids [start, end) of one document: what a row holds whole. */
export interface Window {
  document: number;
  start: number;
  end: number;
}

/** The windows of a document, in order. */
export function windowsOf(documents: TokenDocument[], document: number, sequence: number): Window[] {
  const { length } = documents[document].ids;
  return Array.from({ length: Math.ceil(length / sequence) }, (_, i) => ({
    document,
    start: i * sequence,
    end: Math.min(length, (i + 1) * sequence),
  }));
}

/** Fills a batch from `take`, until too many windows were passed over or `take` gives null. `rest`: those passed over. */
export function packBatch(
  documents: TokenDocument[],
  take: () => Window | null,
  options: PackOptions,
): { batch: Batch; rest: Window[] } {
  const out = emptyBatch(options);
  const used = new Int32Array(options.batch);
  const concatenated = options.packing === 'concatenated';
  const rest: Window[] = [];
  let segment = 0;
  while (rest.length < PASSED_OVER[options.packing]) {
    const window = take();
    if (window === null) break;
    const length = window.end - window.start;
    const row = used.findIndex(filled => filled + length <= options.sequence);
    if (row < 0) rest.push(window);
    else {
      const { document } = window;
      write(out, documents[document], window, row, used[row], concatenated ? row : segment++, concatenated);
      used[row] += length;
    }
  }
  return { batch: out, rest };
}

/** Every document once: the batches of a validation pass. The last batch may have empty rows. */
export function* batchesOf(documents: TokenDocument[], options: PackOptions): Generator<Batch> {
  const windows = documents.flatMap((_, index) => windowsOf(documents, index, options.sequence));
  let at = 0;
  let waiting: Window[] = [];
  while (waiting.length > 0 || at < windows.length) {
    const take = () => waiting.shift() ?? windows[at++] ?? null;
    const packed = packBatch(documents, take, options);
    waiting = [...packed.rest, ...waiting];
    yield packed.batch;
  }
}

function emptyBatch({ batch, sequence, padId }: PackOptions): Batch {
  const filled = (value: number) => new Int32Array(batch * sequence).fill(value);
  return {
    batch,
    sequence,
    inputId_BS: filled(padId),
    label_BS: filled(NO_LABEL),
    language_BS: filled(-1),
    document_BS: filled(-1),
    position_BS: filled(0),
    segment_BS: filled(-1),
  };
}

function write(
  out: Batch,
  document: TokenDocument,
  window: Window,
  row: number,
  column: number,
  segment: number,
  runOn: boolean,
): void {
  const { ids, learn, language } = document;
  for (let t = window.start; t < window.end; t++) {
    const offset = column + t - window.start;
    const at = row * out.sequence + offset;
    const learnt = t + 1 < ids.length && (learn === undefined || learn[t + 1] === 1);
    out.inputId_BS[at] = ids[t];
    out.label_BS[at] = learnt ? ids[t + 1] : NO_LABEL;
    out.language_BS[at] = language;
    out.document_BS[at] = window.document;
    out.position_BS[at] = runOn ? offset : t - window.start;
    out.segment_BS[at] = segment;
  }
}
