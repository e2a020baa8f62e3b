// Held-out loss of a model over documents, by language. One forward pass per batch, no gradients.
// Every document keeps to its own attention segment, so its loss does not depend on its neighbours.
import type { RoutingMode } from '../../routing/types.ts';
import { batchesOf } from '../data/pack.ts';
import type { Batch, Language, TokenDocument } from '../data/types.ts';
import type { Intervention } from '../model/forward-options.ts';
import { tokenLosses } from '../model/loss.ts';
import { type ObservedRouting, recordRoutings } from '../model/observed.ts';
import { tokenInput } from '../model/token-input.ts';
import type { Model } from '../model/weights.ts';
import { type StreamedModel, streamed } from '../stream/model.ts';
import type { LanguageLoss } from './aggregate.ts';

/** In memory, or read layer by layer: the losses and routings are the same. */
export type Evaluated = Model | StreamedModel;

export interface EvaluateOptions {
  /** `free`: no language ids. `forced`: ids given, the language's expert always serves. */
  mode: RoutingMode;
  batch: number;
  sequence: number;
  padId: number;
  /** What is done to the routers, at the tokens of these languages (ids; absent: of all). */
  intervention?: Intervention;
  actsOn?: ReadonlySet<number>;
  /** Called for every MoE layer of every batch, of a model that is read layer by layer for parts of a batch: `from` is the first
   *  token that the routing speaks of. Of each layer, batches come in order. */
  onRouting?: (routing: ObservedRouting, batch: Batch, from: number) => void;
  /** Whether the observer is shown the router's full softmax too. */
  probabilities?: boolean;
  /** Bytes that the observer keeps of each routed slot, for a model with a budget of memory. */
  keptPerSlot?: number;
  /** How far the pass is; `layer`: in which layer a model is that is read layer by layer. */
  onBatch?: (done: number, total: number, layer?: number) => void;
}
export interface DocumentLoss {
  nats: number;
  /** Tokens predicted: all but the first of each document. */
  tokens: number;
}

/** Loss of each document, in order. Summation is in batch order, so the same documents give the same bits. */
export async function documentLosses(
  model: Evaluated,
  documents: TokenDocument[],
  languages: Language[],
  options: EvaluateOptions,
): Promise<DocumentLoss[]> {
  const expertOfLanguage = options.mode === 'free' ? null : Int32Array.from(languages, l => l.expert);
  const losses = documents.map(() => ({ nats: 0, tokens: 0 }));
  const batches = [...batchesOf(documents, { ...options, packing: 'isolated' })];
  const pass = 'stored' in model ? layerByLayer : batchByBatch;
  for await (const { batch, loss_T } of pass(model as never, batches, expertOfLanguage, options)) {
    batch.label_BS.forEach((label, t) => {
      if (label < 0) return;
      const document = losses[batch.document_BS[t]];
      document.nats += loss_T[t];
      document.tokens++;
    });
  }
  return losses;
}

interface PassedBatch {
  batch: Batch;
  loss_T: Float32Array;
}

async function* batchByBatch(
  model: Model,
  batches: Batch[],
  expertOfLanguage: Int32Array | null,
  { mode, onRouting, probabilities, onBatch, intervention, actsOn }: EvaluateOptions,
): AsyncGenerator<PassedBatch> {
  for (const [done, batch] of batches.entries()) {
    const recorder = recordRoutings(probabilities);
    try {
      const loss_T = await tokenLosses(model, tokenInput(batch, expertOfLanguage, actsOn), batch.label_BS, {
        mode,
        intervention,
        onRouting: onRouting && recorder.observe,
      });
      for (const routing of await recorder.read()) onRouting?.(routing, batch, 0);
      yield { batch, loss_T };
    } finally {
      recorder.dispose();
    }
    onBatch?.(done + 1, batches.length);
    await new Promise(setImmediate); // lets Ctrl-C and the progress bar in
  }
}

async function* layerByLayer(
  model: StreamedModel,
  batches: Batch[],
  expertOfLanguage: Int32Array | null,
  { mode, onRouting, probabilities, onBatch, keptPerSlot, intervention, actsOn }: EvaluateOptions,
): AsyncGenerator<PassedBatch> {
  const observer = onRouting && {
    onRouting: (routing: ObservedRouting, b: number, from: number) => onRouting(routing, batches[b], from),
    probabilities,
  };
  const acts = { intervention, actsOn };
  const asked = { mode, expertOfLanguage, onProgress: onBatch, ...observer, ...acts };
  const passed = await streamed(model, batches, asked, keptPerSlot);
  for (const [b, { loss_T }] of passed.entries()) yield { batch: batches[b], loss_T };
}

/** Sums of document losses by language; a language without documents has 0 tokens. */
export function lossesByLanguage(
  losses: DocumentLoss[],
  documents: TokenDocument[],
  languages: Language[],
  bytesOf: (document: TokenDocument) => number,
): LanguageLoss[] {
  const rows = languages.map(({ code, family }) => ({ code, family, nats: 0, tokens: 0, bytes: 0 }));
  losses.forEach(({ nats, tokens }, i) => {
    const row = rows[documents[i].language];
    row.nats += nats;
    row.tokens += tokens;
    row.bytes += bytesOf(documents[i]);
  });
  return rows;
}

/**
 * A sample that treats languages alike: whole documents in their order until the next would pass `tokens` for its language
 * (the first is always taken). The same items come first in every language, so the samples stay parallel.
 */
export function sampleByLanguage(documents: TokenDocument[], tokens: number): TokenDocument[] {
  const used = new Map<number, number>();
  return documents.filter(({ language, ids }) => {
    const before = used.get(language) ?? 0;
    if (before > 0 && before + ids.length > tokens) return false;
    used.set(language, before + ids.length);
    return true;
  });
}

/** Texts over which a language's tokens are spread where it has so many: enough for intervals over texts. */
const MANY_TEXTS = 40;
const SHORTEST_CUT = 16;

/**
 * A sample for measuring routing, whose unit is the text: the beginnings of many texts rather than a few whole ones. At most `tokens`
 * per language, of each text at most `longest` (default: a fortieth of them, at least 16). The same items come first in every
 * language, so the samples stay parallel.
 */
export function sampleBeginnings(
  documents: TokenDocument[],
  tokens: number,
  longest = Math.max(SHORTEST_CUT, Math.ceil(tokens / MANY_TEXTS)),
): TokenDocument[] {
  const cut = documents.map(document => ({ ...document, ids: document.ids.slice(0, longest) }));
  return sampleByLanguage(cut, tokens);
}
