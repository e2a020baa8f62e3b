// What a streamed pass holds at once under a budget of memory, decided before anything is read:
//   weights (a layer, else some of its experts; rows of the head) + what one piece needs in a layer + records
//   + activations of all tokens, which go to disk where they do not fit.
// Shapes: T tokens of a piece, D width, F expert width, E experts, k experts per token, V vocabulary.
import { UserError } from '../errors.ts';
import { expertsIn, type ModelSpec } from '../model/spec.ts';
import type { TokenInput } from '../model/token-input.ts';
import { mustPassWhole } from './pieces.ts';
import { bytesOf, headOf, type LayerParts, layerParts, type StoredModel } from './source.ts';

export interface StreamPlan {
  /** Sequences of a batch that pass a layer together. */
  sequences: number;
  /** Weights held at once. */
  weightBytes: number;
  /** Of each layer, how many experts are held at once; all of them where the layer is held whole. */
  experts_L: number[];
  /** Rows of the output head that are held at once. */
  headRows: number;
  /** Tokens whose logits are made at once. */
  headTokens: number;
  /** Largest need of a piece in a layer, in tensors that live at once. */
  workBytes: number;
  /** Losses and routing, as they are handed on. */
  recordBytes: number;
  activationBytes: number;
  onDisk: boolean;
  /** All of it that is in memory. */
  totalBytes: number;
}

/** @param budget bytes, or null to hold whole layers and all activations. @param recordBytesPerToken what the caller keeps of each
 *  @throws UserError naming the least that would do */
export function planStream(
  model: StoredModel,
  batches: readonly TokenInput[],
  budget: number | null,
  recordBytesPerToken = 0,
): StreamPlan {
  const { spec } = model;
  const parts = spec.layers.map((_, layer) => layerParts(model, layer));
  const tokens = batches.reduce((sum, { id_T }) => sum + id_T.length, 0);
  const recordBytes = tokens * (recordBytesPerToken + TOKEN_BYTES);
  const whole = Math.max(...parts.map(wholeBytes), headBytes(model, spec.vocab_size));
  const least = Math.max(...parts.map(leastBytes), headBytes(model, 1));
  const limit = budget ?? Number.POSITIVE_INFINITY;
  const { sequences, workBytes } = choosePieces(spec, batches, limit - recordBytes, least, whole);
  const room = limit - recordBytes - workBytes;
  if (room < least) throw tooLittle(limit, recordBytes + workBytes + least);
  const weightBytes = Math.min(whole, room);
  const experts_L = parts.map(part => expertsWithin(part, weightBytes));
  const cut = experts_L.some((count, layer) => count < parts[layer].experts.length);
  const activationBytes = 4 * tokens * spec.hidden_size * (cut ? 1 + spec.num_experts_per_tok : 1);
  const onDisk = activationBytes > room - weightBytes;
  const headRows = rowsWithin(model, weightBytes);
  return {
    sequences,
    weightBytes,
    experts_L,
    headRows,
    headTokens: Math.max(1, Math.floor(workBytes / (LOGITS_AT_ONCE * 4 * (headRows + 2 * spec.hidden_size)))),
    workBytes,
    recordBytes,
    activationBytes,
    onDisk,
    totalBytes: recordBytes + workBytes + weightBytes + (onDisk ? 0 : activationBytes),
  };
}

/** Ids, positions, segments, labels, losses of a token and what is counted of it, with one copy. */
const TOKEN_BYTES = 64;
/** Logits, and what a backend may keep beside them. */
const LOGITS_AT_ONCE = 2;

const wholeBytes = ({ base, experts }: LayerParts): number => bytesOf(base) + bytesOf(experts.flat());
const leastBytes = ({ base, experts }: LayerParts): number => bytesOf(base) + Math.max(0, ...experts.map(bytesOf));

const expertsWithin = ({ base, experts }: LayerParts, bytes: number): number =>
  experts.length === 0 ? 0 : Math.min(experts.length, Math.floor((bytes - bytesOf(base)) / bytesOf(experts[0])));

/** Head rows and the final norm. */
const headBytes = (model: StoredModel, rows: number): number => {
  const row = headOf(model).bytes / model.spec.vocab_size;
  return Math.ceil(rows * row) + bytesOf([model.tensors.get('model.norm.weight')!]) + 64;
};

function rowsWithin(model: StoredModel, bytes: number): number {
  const { vocab_size: V } = model.spec;
  const row = headOf(model).bytes / V;
  return Math.min(V, Math.max(1, Math.floor((bytes - headBytes(model, 0)) / row)));
}

/** Whole batches where they fit beside whole layers, else beside the least; cut in halves until they do. */
function choosePieces(spec: ModelSpec, batches: readonly TokenInput[], limit: number, least: number, whole: number) {
  const all = Math.max(1, ...batches.map(({ batch }) => batch));
  const length = Math.max(1, ...batches.map(({ sequence }) => sequence));
  const smallest = mustPassWhole(spec) ? all : 1;
  let sequences = all;
  const work = (): number => workBytes(spec, sequences * length);
  const fits = (): boolean => work() + whole <= limit || (work() + least <= limit && work() <= limit / 4);
  while (sequences > smallest && !fits()) sequences = Math.ceil(sequences / 2);
  return { sequences, workBytes: work() };
}

/** All tensors that live at once while T tokens pass a layer; twice, as memory that was freed waits to be used again in other sizes. */
function workBytes(spec: ModelSpec, T: number): number {
  const { hidden_size: D, decoder, num_experts_per_tok: k, numExperts: E } = spec;
  const q = spec.num_attention_heads * decoder.head_dim;
  const kv = spec.num_key_value_heads * decoder.head_dim;
  const attention = 6 * D + 4 * (q + 2 * kv) + q;
  const dense = 3 * spec.intermediate_size + 2 * D;
  const shared = spec.shared_expert ? 3 * decoder.shared_expert_intermediate_size + 2 * D : 0;
  const sparse = k * (2 * D + 3 * decoder.moe_intermediate_size) + 8 * E + D;
  const ffn = Math.max(
    spec.layers.includes('dense') ? dense : 0,
    spec.layers.includes('moe') ? Math.max(sparse, shared) + D : 0,
  );
  return 2 * 4 * T * (attention + ffn);
}

function tooLittle(budget: number, needed: number): UserError {
  return new UserError(
    `--memory ${inWords(budget)} is too little for this model and text; it needs at least ${inWords(Math.ceil(needed / MB) * MB)}: one expert or dense layer, and the tokens of one sequence.`,
  );
}

const MB = 2 ** 20;

/** `512 MiB`, `2.6 GiB`. */
export const inWords = (bytes: number): string =>
  bytes < 2 ** 30 ? `${(bytes / MB).toFixed(bytes < 10 * MB ? 1 : 0)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;

/** One line for people: what is held. */
export function describePlan(plan: StreamPlan, { spec }: StoredModel): string {
  const cut = plan.experts_L.flatMap((held, layer) =>
    spec.layers[layer] === 'moe' && held < expertsIn(spec, layer) ? [held] : [],
  );
  const held =
    cut.length > 0 ? `${Math.min(...cut)} of ${spec.numExperts} experts of a layer at a time` : 'one layer at a time';
  const head =
    plan.headRows < spec.vocab_size ? `, the head in ${Math.ceil(spec.vocab_size / plan.headRows)} parts` : '';
  const where = plan.onDisk ? 'on disk' : 'in memory';
  return `${held} (weights ${inWords(plan.weightBytes)}${head}), work ${inWords(plan.workBytes)}, activations ${inWords(plan.activationBytes)} ${where}, records ${inWords(plan.recordBytes)}: ${inWords(plan.totalBytes)} in all`;
}
