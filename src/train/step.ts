// One optimizer step: micro-batches → gradients → clip → watch → AdamW (→ loss-free balancing bias).
// A device is waited for once, between gradients and clipping.
import type { Load } from '../../routing/load.ts';
import { updateSelectionBias } from '../../routing/loss-free.ts';
import type { Config } from '../config/schema.ts';
import type { Batch, BatchStream } from '../data/types.ts';
import { sumsOfSquares } from '../engine/ops/sum-of-squares.ts';
import { type HostNumbers, readTogether } from '../engine/read-together.ts';
import { type Tensor, tf } from '../engine/tf.ts';
import { UserError } from '../errors.ts';
import { type LossAndGradients, lossAndGradients } from '../model/loss.ts';
import { tokenInput } from '../model/token-input.ts';
import type { Model } from '../model/weights.ts';
import { type Accumulator, createAccumulator } from './accumulate.ts';
import { clippingOf } from './clip.ts';
import type { Optimizer } from './optimizer.ts';
import type { Watch } from './watch.ts';

export interface StepResult {
  /** Mean cross-entropy over the step's learned tokens, nats. */
  loss: number;
  auxiliary: number;
  gradientNorm: number;
  /** Learned tokens. */
  tokens: number;
  /** Slots per expert summed over MoE layers; absent when dense. */
  load_E?: Float64Array;
  /** Why the run must stop; the weights are then untouched. */
  stop: string | null;
}

export interface StepInput {
  step: number;
  learningRate: number;
  model: Model;
  optimizer: Optimizer;
  stream: BatchStream;
  watch: Watch;
  config: Config;
  /** Expert of each language id. */
  expertOfLanguage: Int32Array;
}

/** Reads `accumulation` micro-batches and updates the model in place, unless the watch objects.
 *  Everything up to the gradients is queued first, then read from the device at once. */
export async function trainStep(input: StepInput): Promise<StepResult> {
  const { model, config, step, learningRate } = input;
  const accumulator = createAccumulator();
  const queued: Queued = { parts: [], loads: [] };
  let gradients = new Map<string, Tensor>();
  try {
    await queueMicroBatches(input, accumulator, queued);
    const accumulated = accumulator.finish();
    gradients = accumulated.gradients;
    const { tokens } = accumulated;
    const { loss, auxiliary, squares, loads } = await readQueued(queued, gradients, tokens);
    const { norm, scale, nonFinite } = clippingOf([...gradients.keys()], squares, config.train.clip);
    const stop = input.watch.observe({ step, loss, gradientNorm: norm, learningRate, nonFinite });
    if (stop === null) {
      input.optimizer.step(gradients, learningRate, scale);
      balance(model, loads, config.router.bias_rate);
    }
    return { loss, auxiliary, gradientNorm: norm, tokens, load_E: total(loads), stop };
  } finally {
    accumulator.dispose();
    tf.dispose([...gradients.values()]);
    drop(queued);
  }
}

/** What micro-batches leave on the device to be read. */
interface Queued {
  parts: Omit<LossAndGradients, 'gradients'>[];
  /** Of each micro-batch and MoE layer. */
  loads: { layer: number; load_E: Load }[];
}

async function queueMicroBatches(input: StepInput, accumulator: Accumulator, { parts, loads }: Queued): Promise<void> {
  const { model, config, stream } = input;
  for (let i = 0; i < config.train.accumulation; i++) {
    const batch = nextToLearn(stream);
    const { gradients, ...part } = lossAndGradients(model, tokenInput(batch, input.expertOfLanguage), batch.label_BS, {
      mode: config.router.train_mode,
      checkpointing: config.train.gradient_checkpointing,
      onRouting: (layer, _, load_E) => loads.push({ layer, load_E: keepLoad(load_E) }),
    });
    parts.push(part);
    accumulator.add(gradients, part.learnedTokens);
    await new Promise(setImmediate); // lets Ctrl-C and the progress bar in
  }
}

/** Observed tensors live only during the call. */
const keepLoad = (load_E: Load): Load => (load_E instanceof Float64Array ? load_E : tf.keep(load_E.clone()));

const NO_LOSS = Float64Array.of(0);

/** Means over `tokens`, Σ x² of each gradient, and loads by layer. */
async function readQueued({ parts, loads }: Queued, gradients: Map<string, Tensor>, tokens: number) {
  const sums = sumsOfSquares([...gradients.values()]);
  try {
    const [[squares], losses, auxiliaries, load] = await readTogether(
      [sums],
      parts.map(({ loss }) => loss),
      parts.map(({ auxiliary }) => auxiliary ?? NO_LOSS),
      loads.map(({ load_E }) => load_E),
    );
    const mean = (values: HostNumbers[]): number =>
      parts.reduce((sum, { learnedTokens }, i) => sum + values[i][0] * learnedTokens, 0) / tokens;
    const byLayer = new Map<number, Float64Array>();
    for (const [i, { layer }] of loads.entries()) addLoad(byLayer, layer, Float64Array.from(load[i]));
    return { loss: mean(losses), auxiliary: mean(auxiliaries), squares, loads: byLayer };
  } finally {
    sums.dispose();
  }
}

function drop({ parts, loads }: Queued): void {
  for (const { loss, auxiliary } of parts) tf.dispose([loss, ...(auxiliary ? [auxiliary] : [])]);
  for (const { load_E } of loads) if (!(load_E instanceof Float64Array)) load_E.dispose();
}

/** More micro-batches in a row without anything to learn than this, and the data is at fault. */
const MOST_PASSED_OVER = 100;

/** The next micro-batch with a label: one that only holds what is read, not learned (questions), is passed over. */
function nextToLearn(stream: BatchStream): Batch {
  for (let i = 0; i < MOST_PASSED_OVER; i++) {
    const batch = stream.next();
    if (batch.label_BS.some(label => label >= 0)) return batch;
  }
  throw new UserError(
    `${MOST_PASSED_OVER} batches in a row have no token to learn; give conversations with answers, or plain text.`,
  );
}

function addLoad(loads: Map<number, Float64Array>, layer: number, load_E: Float64Array): void {
  const before = loads.get(layer);
  loads.set(layer, before ? before.map((load, e) => load + load_E[e]) : load_E);
}

function total(loads: Map<number, Float64Array>): Float64Array | undefined {
  if (loads.size === 0) return undefined;
  return [...loads.values()].reduce((a, b) => a.map((load, e) => load + b[e]));
}

function balance(model: Model, loads: Map<number, Float64Array>, rate: number): void {
  if (rate === 0) return;
  for (const [layer, load_E] of loads)
    model.selectionBias.set(layer, updateSelectionBias(model.selectionBias.get(layer)!, load_E, rate));
}
