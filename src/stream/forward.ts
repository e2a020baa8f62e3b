// A forward pass of a model that stays in its files: layer by layer over the whole set of batches, each layer's weights read
// once (plan.ts says what is held). Losses, routing and logits are those of the ordinary pass.
// Shapes: T tokens of a batch, R tokens whose logits are asked for, V vocabulary.
import type { RoutingMode } from '../../routing/types.ts';
import { NO_LABEL } from '../data/pack.ts';
import type { Batch } from '../data/types.ts';
import type { Intervention } from '../model/forward-options.ts';
import { type ObservedRouting, recordRoutings } from '../model/observed.ts';
import { tokenInput } from '../model/token-input.ts';
import { inMemory, onDisk } from './activations.ts';
import { openArena } from './arena.ts';
import { embed, logitsAt, lossesAt } from './ends.ts';
import { type LayerPass, runLayer } from './layers.ts';
import { type Piece, piecesOf } from './pieces.ts';
import type { StreamPlan } from './plan.ts';
import type { StoredModel } from './source.ts';

export interface StreamOptions {
  mode: RoutingMode;
  /** Expert by language id; null withholds the language ids. */
  expertOfLanguage: Int32Array | null;
  plan: StreamPlan;
  /** Where activations wait that do not fit into memory. */
  temporary: string;
  /** As in evaluation. */
  intervention?: Intervention;
  actsOn?: ReadonlySet<number>;
  /** Is shown the routing of each piece of a batch as it passes, from its first token on; of each layer, pieces come in order. */
  onRouting?: (routing: ObservedRouting, batch: number, from: number) => void;
  /** Whether it is shown the router's full softmax too. */
  probabilities?: boolean;
  /** Of each batch, tokens whose logits are wanted; default none. */
  logitsAt?: readonly (readonly number[])[];
  /** Called often; `layer` counts from 0, the number of layers means the head. */
  onProgress?: (done: number, total: number, layer: number) => void;
}

export interface StreamedBatch {
  /** Nats, 0 where the label is −100. */
  loss_T: Float32Array;
  /** [R, V] */
  logits_RV: Float32Array;
}

/** What the ordinary pass would answer for each batch. Needs a backend whose tensors can be read at once (not webgpu). */
export async function streamedForward(
  model: StoredModel,
  batches: readonly Batch[],
  options: StreamOptions,
): Promise<StreamedBatch[]> {
  const { plan, mode, intervention } = options;
  const inputs = batches.map(batch => tokenInput(batch, options.expertOfLanguage, options.actsOn));
  const pieces = piecesOf(inputs, plan.sequences);
  const tokens = pieces.reduce((sum, piece) => sum + piece.tokens.id_T.length, 0);
  const floats = plan.activationBytes / 4;
  const activations = plan.onDisk ? onDisk(floats, options.temporary) : inMemory(floats);
  const recorder = recordRoutings(options.probabilities);
  try {
    const arena = openArena(plan.weightBytes);
    try {
      const waited: Piece[] = [];
      const onRouting: LayerPass['onRouting'] = (piece, layer, routing) => {
        waited.push(piece);
        recorder.observe(layer, routing);
      };
      const pause = progressOf(options, pieces.length, model.spec.num_hidden_layers, async () => {
        const seen = waited.splice(0);
        for (const [i, routing] of (await recorder.read()).entries())
          options.onRouting?.(routing, seen[i].batch, seen[i].from);
      });
      const pass: LayerPass = {
        ...{ model, arena, activations, pieces, tokens, mode, intervention, pause },
        onRouting: options.onRouting && onRouting,
      };
      embed(pass);
      for (let layer = 0; layer < model.spec.num_hidden_layers; layer++)
        await runLayer(pass, layer, plan.experts_L[layer]);
      return await ends(pass, batches, options);
    } finally {
      arena.dispose();
    }
  } finally {
    recorder.dispose();
    activations.close();
  }
}

/** After each piece: what was observed is read, and Ctrl-C and the bar are let in. */
function progressOf({ onProgress }: StreamOptions, pieces: number, layers: number, read: () => Promise<void>) {
  const inLayer = new Map<number, number>();
  return async (layer: number): Promise<void> => {
    await read();
    const done = (inLayer.get(layer) ?? 0) + 1;
    inLayer.set(layer, done);
    // A layer whose experts are not held at once takes more steps than pieces; how many says its routing.
    onProgress?.(layer * pieces + Math.min(done, pieces), (layers + 1) * pieces, layer);
    await new Promise(setImmediate);
  };
}

async function ends(pass: LayerPass, batches: readonly Batch[], options: StreamOptions): Promise<StreamedBatch[]> {
  const starts = batches.map(() => 0);
  batches.forEach((batch, b) => {
    if (b + 1 < batches.length) starts[b + 1] = starts[b] + batch.inputId_BS.length;
  });
  const head = { ...pass, ...options.plan };
  const pause = (): Promise<void> => pass.pause(pass.model.spec.num_hidden_layers);
  const learned = batches.map(({ label_BS }) => Int32Array.from(label_BS.keys()).filter(t => label_BS[t] !== NO_LABEL));
  const label_R = flat(learned.map((at_R, b) => at_R.map(t => batches[b].label_BS[t])));
  const loss_R = await lossesAt(head, flat(learned.map((at_R, b) => at_R.map(t => starts[b] + t))), label_R, pause);
  const wanted = batches.map((_, b) => Int32Array.from(options.logitsAt?.[b] ?? []));
  const logits_RV = await logitsAt(head, flat(wanted.map((at_R, b) => at_R.map(t => starts[b] + t))), pause);
  let [losses, logits] = [0, 0];
  return batches.map(({ inputId_BS }, b) => {
    const loss_T = new Float32Array(inputId_BS.length);
    for (const t of learned[b]) loss_T[t] = loss_R[losses++];
    const own = wanted[b].length * pass.model.spec.vocab_size;
    logits += own;
    return { loss_T, logits_RV: logits_RV.subarray(logits - own, logits) };
  });
}

function flat(lists: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}
