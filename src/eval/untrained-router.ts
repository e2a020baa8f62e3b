// The same model with routers that never learned: every gate drawn anew from N(0, 0.02), balancing biases 0. What its routing
// still tells of languages is the geometry of the hidden states, not anything that a router learned.
import { tf, type Variable } from '../engine/tf.ts';
import { tensorSpecs } from '../model/spec.ts';
import { createRng } from '../train/rng.ts';
import type { Evaluated } from './evaluate.ts';

const INIT_STD = 0.02;

export interface UntrainedModel {
  model: Evaluated;
  /** Frees the new routers; the weights are those of the model that it was made of. */
  dispose(): void;
}

/** @param seed of the gates; each layer's are its own, so that they do not depend on how many there are */
export function withUntrainedRouters(model: Evaluated, seed: number): UntrainedModel {
  const routers = tensorSpecs(model.spec).filter(({ role }) => role === 'router');
  const drawn = (name: string, size: number): Float32Array => {
    const { gaussian } = createRng(`${seed}/untrained/${name}`);
    return Float32Array.from({ length: size }, () => INIT_STD * gaussian());
  };
  const noBias = (biases: Map<number, Float32Array>): Map<number, Float32Array> =>
    new Map([...biases].map(([layer, bias]) => [layer, new Float32Array(bias.length)]));
  if ('stored' in model) {
    const tensors = new Map(model.stored.tensors);
    for (const { name, shape } of routers) {
      const values = (): Float32Array => drawn(name, shape[0] * shape[1]);
      tensors.set(name, { ...tensors.get(name)!, values });
    }
    const stored = { ...model.stored, tensors, selectionBias: noBias(model.stored.selectionBias) };
    return { model: { ...model, stored }, dispose: () => {} };
  }
  const weights = new Map(model.weights);
  const made: Variable[] = [];
  for (const { name, shape } of routers) {
    const start = tf.tensor(drawn(name, shape[0] * shape[1]), shape, 'float32');
    made.push(tf.variable(start, false));
    start.dispose();
    weights.set(name, made.at(-1)!);
  }
  const dispose = (): void => {
    for (const variable of made) variable.dispose();
  };
  return { model: { ...model, weights, selectionBias: noBias(model.selectionBias) }, dispose };
}
