// One optimizer step: micro-batches → gradients → clip → watch → AdamW (→ loss-free balancing bias).
import { updateSelectionBias } from '../../routing/loss-free.ts';
import type { Config } from '../config/schema.ts';
import type { Batch, BatchStream } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { lossAndGradients } from '../model/loss.ts';
import { tokenInput } from '../model/token-input.ts';
import type { Model } from '../model/weights.ts';
import { createAccumulator } from './accumulate.ts';
import { measureClipping } from './clip.ts';
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

/** Reads `accumulation` micro-batches and updates the model in place, unless the watch objects. */
export async function trainStep(input: StepInput): Promise<StepResult> {
  const { model, config, stream } = input;
  const accumulator = createAccumulator();
  const loads = new Map<number, Float64Array>();
  let loss = 0;
  let auxiliary = 0;
  for (let i = 0; i < config.train.accumulation; i++) {
    const batch = nextToLearn(stream);
    const part = lossAndGradients(model, tokenInput(batch, input.expertOfLanguage), batch.label_BS, {
      mode: config.router.train_mode,
      checkpointing: config.train.gradient_checkpointing,
      onRouting: (layer, _, load_E) => addLoad(loads, layer, load_E),
    });
    loss += part.loss * part.learnedTokens;
    auxiliary += part.auxiliary * part.learnedTokens;
    accumulator.add(part.gradients, part.learnedTokens);
    await new Promise(setImmediate); // lets Ctrl-C and the progress bar in
  }
  const { gradients, tokens } = accumulator.finish();
  const { norm, scale, nonFinite } = await measureClipping(gradients, config.train.clip);
  const result = {
    loss: loss / tokens,
    auxiliary: auxiliary / tokens,
    gradientNorm: norm,
    tokens,
    load_E: total(loads),
  };
  const { step, learningRate } = input;
  const stop = input.watch.observe({ step, loss: result.loss, gradientNorm: norm, learningRate, nonFinite });
  if (stop === null) {
    input.optimizer.step(gradients, learningRate, scale);
    balance(model, loads, config.router.bias_rate);
  }
  for (const gradient of gradients.values()) gradient.dispose();
  return { ...result, stop };
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
