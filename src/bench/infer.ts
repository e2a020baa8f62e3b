// Time of a forward pass over one sequence: logits at every position, of a Qwen2-0.5B-shaped model with random weights.
import { tf } from '../engine/tf.ts';
import { tokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import { disposeModel, type Model } from '../model/weights.ts';
import { createRng } from '../train/rng.ts';
import { batchOf, randomIds, randomWeights, type WeightType } from './random.ts';
import { type SavedTensor, savedWeights } from './saved.ts';
import { benchSpec, benchTensors, type Shape } from './shapes.ts';
import { type Repeats, summary, type Timing, timed } from './timing.ts';
import { FORWARD, modelOperations } from './work.ts';

export interface InferenceTimes {
  timing: Timing;
  /** Mean square of the logits at the last position. */
  values: number[];
}

/** @param type of the matrices
 *  @param save receives the weights and the token ids before the first run */
export async function timeInference(
  name: string,
  shape: Shape,
  seed: number,
  repeats: Repeats,
  type: WeightType = 'fp32',
  save?: (tensors: SavedTensor[]) => Promise<void>,
): Promise<InferenceTimes> {
  const weights = randomWeights(benchTensors(shape), seed, type);
  const model: Model = { spec: benchSpec(shape), weights, selectionBias: new Map() };
  const ids = randomIds(shape, createRng(`${seed}/tokens`));
  await save?.([...savedWeights(weights), { name: 'token_ids', shape: [1, 1, ids.length], values: ids }]);
  const tokens = tokenInput(batchOf(shape, ids), null);
  const run = async (): Promise<Float32Array> => {
    const last_1V = tf.tidy(() => {
      const { logits_TV } = forward(model, tokens, { mode: 'free' });
      return logits_TV.slice([shape.sequence - 1, 0], [1, shape.vocabulary]);
    });
    const values = (await last_1V.data()).slice() as Float32Array;
    last_1V.dispose();
    return values;
  };
  let last: Float32Array = new Float32Array();
  const ms = await timed(async () => {
    last = await run();
  }, repeats);
  disposeModel(model);
  const meanSquare = last.reduce((sum, logit) => sum + logit * logit, 0) / last.length;
  return {
    timing: summary(name, ms, modelOperations(shape, FORWARD), shape.sequence),
    values: [meanSquare],
  };
}
