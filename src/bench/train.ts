// Time of a training step: the step of `moe train` itself (forward, backward, clipping, AdamW) on random tokens.
import { disposeModel, type Model } from '../model/weights.ts';
import { createOptimizer, optimizerSettings } from '../train/optimizer.ts';
import { createRng } from '../train/rng.ts';
import { trainStep } from '../train/step.ts';
import { createWatch } from '../train/watch.ts';
import { randomIds, randomStream, randomWeights } from './random.ts';
import { type SavedTensor, savedWeights } from './saved.ts';
import { benchConfig, benchSpec, benchTensors, type Shape } from './shapes.ts';
import { type Repeats, summary, type Timing, timed } from './timing.ts';
import { modelOperations, TRAINING_STEP } from './work.ts';

export const LEARNING_RATE = 1e-3;

export interface TrainingTimes {
  timing: Timing;
  /** Loss of every step, warm-up too, nats per token. */
  values: number[];
}

/** @param save receives the weights and all token ids before the first step */
export async function timeTraining(
  name: string,
  shape: Shape,
  seed: number,
  repeats: Repeats,
  save?: (tensors: SavedTensor[]) => Promise<void>,
): Promise<TrainingTimes> {
  const config = benchConfig(shape);
  const model: Model = {
    spec: benchSpec(shape),
    weights: randomWeights(benchTensors(shape), seed),
    selectionBias: new Map(),
  };
  await save?.([...savedWeights(model.weights), allTokens(shape, seed, repeats.warmup + repeats.repeats)]);
  const optimizer = createOptimizer(model.weights, optimizerSettings(config));
  const step = { model, optimizer, config, watch: createWatch(), stream: randomStream(shape, seed) };
  const expertOfLanguage = Int32Array.of(0);
  const values: number[] = [];
  const ms = await timed(async () => {
    const input = { ...step, step: values.length + 1, learningRate: LEARNING_RATE, expertOfLanguage };
    const { loss, stop } = await trainStep(input);
    if (stop) throw new Error(stop);
    values.push(loss);
  }, repeats);
  optimizer.dispose();
  disposeModel(model);
  const tokens = shape.batch * shape.sequence;
  return { timing: summary(name, ms, modelOperations(shape, TRAINING_STEP), tokens), values };
}

/** The ids of all steps, as randomStream draws them. */
function allTokens(shape: Shape, seed: number, steps: number): SavedTensor {
  const rng = createRng(`${seed}/tokens`);
  const ids = Array.from({ length: steps }, () => [...randomIds(shape, rng)]);
  return { name: 'token_ids', shape: [steps, shape.batch, shape.sequence + 1], values: Int32Array.from(ids.flat()) };
}
