// A model in memory: its shape and its tensors by Hugging Face name, ready for training or inference.
import { halfTensor } from '../engine/half.ts';
import { type Tensor, tf, type Variable } from '../engine/tf.ts';
import { UserError } from '../errors.ts';
import { expertsIn, type ModelSpec, tensorSpecs } from './spec.ts';

export interface Model {
  spec: ModelSpec;
  weights: Map<string, Variable>;
  /** Loss-free balancing bias of each MoE layer, by layer number; not trained by gradients. */
  selectionBias: Map<number, Float32Array>;
}

/** Host copy of a tensor, the form in which weights travel between phases, files and models. */
export interface HostTensor {
  shape: number[];
  values: Float32Array;
}

/** A matrix in bf16, which inference reads in place. */
export interface HalfMatrix {
  shape: number[];
  halves: Uint16Array;
}

/**
 * Fresh weights: matrices N(0, initializer_range), router N(0, init_std), norms 1, biases 0, as Qwen2 does.
 * @param normal draws from N(0, 1); the only source of randomness
 */
export function initialWeights(spec: ModelSpec, normal: () => number): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>();
  for (const { name, shape, role } of tensorSpecs(spec)) {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    if (role === 'norm') values.fill(1);
    else if (role !== 'bias') {
      const std = role === 'router' ? spec.router.init_std : spec.initializer_range;
      for (let i = 0; i < values.length; i++) values[i] = std * normal();
    }
    out.set(name, { shape, values });
  }
  return out;
}

const biasName = (layer: number): string => `model.layers.${layer}.mlp.gate.e_score_correction_bias`;

/** Puts host tensors on the backend. A model with matrices in bf16 is for inference only, and these must not change.
 *  @throws UserError if a tensor is missing or has another shape */
export function createModel(
  spec: ModelSpec,
  tensors: ReadonlyMap<string, HostTensor | HalfMatrix>,
  from = 'the weights',
): Model {
  const specs = tensorSpecs(spec);
  for (const { name, shape } of specs) check(name, shape, tensors.get(name), from);
  const selectionBias = new Map<number, Float32Array>();
  spec.layers.forEach((kind, layer) => {
    if (kind !== 'moe') return;
    const E = expertsIn(spec, layer);
    const fresh = { shape: [E], values: new Float32Array(E) };
    const bias = (tensors.get(biasName(layer)) as HostTensor | undefined) ?? fresh;
    check(biasName(layer), fresh.shape, bias, from);
    selectionBias.set(layer, Float32Array.from(bias.values));
  });
  const weights = new Map<string, Variable>();
  for (const { name } of specs) weights.set(name, upload(tensors.get(name)!));
  return { spec, weights, selectionBias };
}

function check(name: string, shape: number[], found: { shape: number[] } | undefined, from: string): void {
  if (!found)
    throw new UserError(`${from}: tensor '${name}' is missing; the file belongs to another model or is incomplete.`);
  if (found.shape.join() !== shape.join())
    throw new UserError(
      `${from}: tensor '${name}' has shape [${found.shape.join(', ')}], the configuration asks for [${shape.join(', ')}]; use the checkpoint's own configuration.`,
    );
}

function upload(host: HostTensor | HalfMatrix): Variable {
  const start: Tensor =
    'halves' in host
      ? halfTensor(host.halves, host.shape)
      : tf.tensor(Float32Array.from(host.values), host.shape, 'float32');
  const variable = tf.variable(start);
  start.dispose();
  return variable;
}

/** Every tensor of the checkpoint by name, copied to the host one at a time. */
export async function hostTensors(model: Model): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  for (const [name, variable] of model.weights)
    tensors.set(name, { shape: variable.shape, values: Float32Array.from(await variable.data()) });
  if (model.spec.router.bias_rate > 0)
    for (const [layer, bias] of model.selectionBias)
      tensors.set(biasName(layer), { shape: [bias.length], values: bias });
  return tensors;
}

export function disposeModel(model: Model): void {
  for (const variable of model.weights.values()) variable.dispose();
}
