// A tiny mixture trained on a stream of random documents, for the tests of leaks and of bits.
import { openStream } from '../../src/data/stream.ts';
import { tf } from '../../src/engine/tf.ts';
import { disposeModel, type Model } from '../../src/model/weights.ts';
import { createOptimizer } from '../../src/train/optimizer.ts';
import { trainStep } from '../../src/train/step.ts';
import { createWatch } from '../../src/train/watch.ts';
import { EOS, toyConfig, toyDocuments, toyExperts, toyModel } from './toy.ts';

export interface Memory {
  tensors: number;
  bytes: number;
}
type Settings = Parameters<typeof toyConfig>[0];

/** Trains `steps` steps and says what was alive after each. @param each called after every step */
export async function memoryOfTraining(
  steps: number,
  settings: Settings,
  each?: (step: number, model: Model) => unknown,
) {
  const config = toyConfig(settings);
  const model = toyModel(settings);
  const optimizer = createOptimizer(model.weights, {
    ...config.train,
    weightDecay: config.train.weight_decay,
    decayEmbeddings: true,
    decayNorms: false,
  });
  const documents = toyDocuments(Array.from({ length: 64 }, (_, i) => 3 + ((7 * i) % 40)));
  const stream = openStream(documents, {
    batch: 4,
    sequence: 32,
    padId: EOS,
    packing: 'isolated',
    order: { share_G: Float64Array.of(0.25, 0.25, 0.25, 0.25), seed: 1 },
  });
  const common = { model, optimizer, stream, watch: createWatch(), config, expertOfLanguage: toyExperts };
  const memory: Memory[] = [];
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    losses.push((await trainStep({ ...common, step, learningRate: 0.003 })).loss);
    const { numTensors: tensors, numBytes: bytes } = tf.memory();
    memory.push({ tensors, bytes });
    await each?.(step, model);
  }
  optimizer.dispose();
  disposeModel(model);
  return { memory, losses };
}
