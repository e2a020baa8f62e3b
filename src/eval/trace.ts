// Runs a model over documents and writes down where every token went: the trace that analysis/ reads.
// Shapes: T tokens of a part of a batch, N tokens of all documents, L MoE layers, E experts, k choices.
import type { CountRow, Trace, TraceHeader } from '../../routing/trace.ts';
import { TRACE_VERSION } from '../../routing/trace.ts';
import type { RoutingMode } from '../../routing/types.ts';
import type { FamilyMap } from '../config/families.ts';
import type { Batch, TokenDocument } from '../data/types.ts';
import type { ObservedRouting } from '../model/observed.ts';
import { type Recorded, toTrace } from '../trace/recorded.ts';
import { emptySlots, firstContent, NO_EXPERT, placeOf, SLOT_BYTES, type Slots } from '../trace/slots.ts';
import { addProbabilities, type SoftmaxSums, softmaxSums } from '../trace/softmax.ts';
import { documentLosses, type Evaluated, type EvaluateOptions } from './evaluate.ts';

export interface TraceRequest {
  model: Evaluated;
  map: FamilyMap;
  documents: TokenDocument[];
  mode: RoutingMode;
  /** Names for the header. */
  run: string;
  modelName: string;
  step: number;
  /** Training bytes by language id; 0 marks a zero-text language. */
  trainingBytes: ArrayLike<number>;
  /** Counts of earlier steps (recorded while training), put before this step's. */
  history: CountRow[];
  /** Ids that no measure counts, beside the end of text. */
  specialIds?: ReadonlySet<number>;
  /** Whether the mean of the full softmax is summed per document. */
  softmax?: boolean;
  /** Text of token ids, for people to read. */
  textOf?: (ids: number[]) => Map<number, string>;
  /** Seed by which the routers were drawn anew. */
  untrainedRouter?: number;
}

type RecordOptions = Omit<EvaluateOptions, 'mode' | 'onRouting' | 'probabilities' | 'keptPerSlot'>;

/** The whole trace as plain rows: for small ones. Rows by document, position, layer, slot. */
export const recordTrace = async (request: TraceRequest, options: RecordOptions): Promise<Trace> =>
  toTrace(await recordRouting(request, options));

/** Padding is routed but never recorded, nor the end of text that closes a document; one within it is special. */
export async function recordRouting(request: TraceRequest, options: RecordOptions): Promise<Recorded> {
  const { model, map, documents, step } = request;
  const { spec } = model;
  const header = headerOf(request);
  const special = new Set([...(request.specialIds ?? []), options.padId]);
  const slots = emptySlots(
    documents.map(({ language, ids }) => {
      const text = ids.at(-1) === options.padId ? ids.subarray(0, -1) : ids;
      return { language, ids: text, special: Uint8Array.from(text, id => Number(special.has(id))) };
    }),
    // Where experts choose tokens, a token may get any number of them.
    {
      ...{ step, layers: header.moeLayers, experts: spec.numExperts },
      k: spec.router.kind === 'expert-choice' ? spec.numExperts : spec.num_experts_per_tok,
    },
  );
  const softmax = request.softmax ? softmaxSums(slots) : null;
  const counted = softmax && countedTokens(slots);
  const places = placesOf(documents, slots);
  await documentLosses(model, documents, map.languages, {
    ...options,
    mode: request.mode,
    probabilities: softmax !== null,
    keptPerSlot:
      keptBytes(slots, softmax) / Math.max(1, slots.token.length * slots.layers.length * spec.num_experts_per_tok),
    onRouting: (routing, batch, from) => {
      const token_T = places(batch).subarray(from, from + routing.expertId_TK.length / routing.k);
      const l = slots.layers.indexOf(routing.layer);
      takeSlots(slots, routing, token_T, l);
      if (softmax && counted) takeSoftmax(softmax, { slots, counted }, routing, token_T, l, spec.kept_experts);
    },
  });
  if (slots.k > header.expertsPerToken) header.expertsPerToken = mostChosen(slots);
  const earlier = request.history.filter(row => row.step < step);
  const ids = [...new Set(slots.token)].sort((a, b) => a - b);
  return { header, slots, earlier, softmax, vocabulary: request.textOf?.(ids) ?? null };
}

const keptBytes = ({ expert }: Slots, softmax: SoftmaxSums | null): number =>
  SLOT_BYTES * expert.length + (softmax ? 4 * softmax.sum.length : 0);

/** @param token_T number of each token among all that are recorded; negative: not recorded */
function takeSlots(slots: Slots, { expertId_TK, gate_TK, k }: ObservedRouting, token_T: Int32Array, l: number): void {
  token_T.forEach((n, t) => {
    if (n < 0) return;
    const at = placeOf(slots, n, l);
    for (let slot = 0; slot < k; slot++) {
      const expert = expertId_TK[t * k + slot];
      slots.expert[at + slot] = expert < 0 ? NO_EXPERT : expert;
      slots.gate[at + slot] = gate_TK[t * k + slot];
    }
  });
}

/** The most experts that any token got in a layer, at least 1. */
function mostChosen({ expert, k }: Slots): number {
  let most = 1;
  for (let at = 0; at < expert.length; at += k) {
    const chosen = expert.subarray(at, at + k).indexOf(NO_EXPERT);
    most = Math.max(most, chosen < 0 ? k : chosen);
  }
  return most;
}

interface Counted {
  slots: Slots;
  /** [N] document of each counted token, −1 of the others. */
  counted: Int32Array;
}

function takeSoftmax(
  softmax: SoftmaxSums,
  { slots, counted }: Counted,
  { layer, probabilities_TE }: ObservedRouting,
  token_T: Int32Array,
  l: number,
  kept: (number[] | null)[] | undefined,
): void {
  const p_TE = probabilities_TE!;
  const E = p_TE.length / token_T.length;
  token_T.forEach((n, t) => {
    if (n < 0 || counted[n] < 0) return;
    addProbabilities(softmax, slots, counted[n], l, p_TE.subarray(t * E, (t + 1) * E), kept?.[layer]);
  });
}

/** Document of each token that is neither special nor the first content token; −1 of the others. */
function countedTokens(slots: Slots): Int32Array {
  const counted = new Int32Array(slots.token.length).fill(-1);
  for (let d = 0; d < slots.language.length; d++) {
    const first = firstContent(slots, d);
    for (let n = slots.start[d]; n < slots.start[d + 1]; n++) if (slots.special[n] === 0 && n !== first) counted[n] = d;
  }
  return counted;
}

/** By batch, which recorded token each of its tokens is; −1: padding, or the end of text. Batches are asked for in order first. */
function placesOf(documents: TokenDocument[], slots: Slots): (batch: Batch) => Int32Array {
  const read = new Int32Array(documents.length);
  const known = new Map<Batch, Int32Array>();
  return batch => {
    const token_T = known.get(batch) ?? tokensOf(batch, documents, slots, read);
    known.set(batch, token_T);
    return token_T;
  };
}

/** Whole windows of a document come in order, but its shorter last one may be packed before them, in a gap.
 *  @param read positions given to whole windows so far, by document */
function tokensOf(batch: Batch, documents: TokenDocument[], slots: Slots, read: Int32Array): Int32Array {
  const { document_BS, segment_BS, position_BS, sequence } = batch;
  const token_T = new Int32Array(document_BS.length).fill(-1);
  for (let start = 0, end = 0; start < token_T.length; start = end) {
    end = start + 1;
    const document = document_BS[start];
    if (document < 0) continue;
    while (end % sequence !== 0 && segment_BS[end] === segment_BS[start]) end++;
    const whole = end - start === sequence;
    const from = whole ? read[document] : documents[document].ids.length - (end - start);
    if (whole) read[document] += sequence;
    for (let t = start; t < end; t++) {
      const n = slots.start[document] + from + position_BS[t];
      if (n < slots.start[document + 1]) token_T[t] = n;
    }
  }
  return token_T;
}

/** What a trace says of its model, languages and documents. */
export function headerOf(request: Omit<TraceRequest, 'step' | 'history'>): TraceHeader {
  const { model, map, documents, mode, run, modelName, trainingBytes, untrainedRouter } = request;
  const { spec } = model;
  return {
    version: TRACE_VERSION,
    run,
    model: modelName,
    routing: mode,
    numExperts: spec.numExperts,
    expertsPerToken: spec.num_experts_per_tok,
    numLayers: spec.num_hidden_layers,
    moeLayers: spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : [])),
    normalised: spec.norm_topk_prob,
    ...(untrainedRouter !== undefined && { untrainedRouter }),
    expertNames: map.expertNames,
    languages: map.languages.map(({ code, name, script, family, expert, index }) => ({
      code,
      name,
      script,
      family,
      expert,
      trainingBytes: trainingBytes[index],
    })),
    documents: documents.map(({ id, item, language, source, domain }) => ({
      id,
      item,
      language: map.languages[language].code,
      source,
      domain,
    })),
  };
}
