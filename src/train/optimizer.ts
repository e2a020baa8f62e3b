// AdamW (Loshchilov and Hutter 2019) over named parameters, with decay groups and a learning-rate multiplier for
// router, experts and trunk. The arithmetic of one update is src/engine/ops/adamw.ts; here is who gets which settings,
// and the state: m, v (fp32, the parameter's shape) and the number of updates, kept per parameter as torch does,
// so that parameters that join later (upcycled experts) start with a fresh bias correction.
import type { Config } from '../config/schema.ts';
import { adamw } from '../engine/ops/adamw.ts';
import type { Tensor, Variable } from '../engine/tf.ts';
import { tf } from '../engine/tf.ts';
import { UserError } from '../errors.ts';
import type { HostTensor } from '../model/weights.ts';

export type LearningGroup = 'router' | 'experts' | 'trunk';

export interface OptimizerSettings {
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** Also decay the token embeddings. */
  decayEmbeddings: boolean;
  /** Also decay norm weights: what the ApolloMoE scripts do, since their name test for norms matches nothing. */
  decayNorms: boolean;
  /** Factors on the learning rate; 0 freezes the group: no update, no decay, no state. */
  multipliers: Record<LearningGroup, number>;
}

/** What a configuration says about the optimizer. */
export function optimizerSettings({ train }: Config): OptimizerSettings {
  const { beta1, beta2, epsilon, multipliers } = train;
  const { weight_decay: weightDecay, decay_embeddings: decayEmbeddings, decay_norms: decayNorms } = train;
  return { beta1, beta2, epsilon, weightDecay, decayEmbeddings, decayNorms, multipliers };
}

/** An entry of the saved state: `<name>.exp_avg`, `<name>.exp_avg_sq` or `<name>.step` (one number). */
export type NamedTensor = [name: string, tensor: HostTensor];

export interface Optimizer {
  /**
   * One update in place, with the gradients times `gradientScale` (1 when left out). `gradients` stay the caller's.
   * Returns the trained parameters that had no gradient: they are left as they are, undecayed, as torch does.
   */
  step(gradients: ReadonlyMap<string, Tensor>, learningRate: number, gradientScale?: number): string[];
  /** Copies of the state, bit for bit, in the order of the parameters. Frozen parameters have none. */
  exportState(): Promise<NamedTensor[]>;
  /** Takes a saved state. UserError when an array is missing, unknown or of another length; then nothing is changed. */
  importState(state: Iterable<NamedTensor>): void;
  /** Frees m and v, never the parameters. */
  dispose(): void;
}

interface Slot {
  parameter: Variable;
  multiplier: number;
  weightDecay: number;
  m: Variable;
  v: Variable;
  step: number;
}

/** Which learning-rate group a Hugging Face parameter name belongs to. Shared experts and their gate are trunk. */
export function learningGroup(name: string): LearningGroup {
  if (name.endsWith('mlp.gate.weight')) return 'router';
  return name.includes('.mlp.experts.') ? 'experts' : 'trunk';
}

/** Weight decay of a parameter: all on matrices, none on biases, by setting on norms and token embeddings. */
export function weightDecayOf(name: string, rank: number, settings: OptimizerSettings): number {
  const { weightDecay, decayEmbeddings, decayNorms } = settings;
  if (name.endsWith('.bias')) return 0;
  if (name.endsWith('norm.weight')) return decayNorms ? weightDecay : 0;
  if (name.endsWith('embed_tokens.weight')) return decayEmbeddings ? weightDecay : 0;
  return rank >= 2 ? weightDecay : 0;
}

const zerosLike = (parameter: Variable): Variable => tf.tidy(() => tf.variable(tf.zerosLike(parameter), false));

function createSlots(parameters: ReadonlyMap<string, Variable>, settings: OptimizerSettings): Map<string, Slot> {
  const slots = new Map<string, Slot>();
  for (const [name, parameter] of parameters) {
    const multiplier = settings.multipliers[learningGroup(name)];
    if (multiplier === 0) continue;
    const weightDecay = weightDecayOf(name, parameter.rank, settings);
    slots.set(name, { parameter, multiplier, weightDecay, m: zerosLike(parameter), v: zerosLike(parameter), step: 0 });
  }
  return slots;
}

/** An optimizer for these parameters, its state zero. It keeps references to the variables and never disposes them. */
export function createOptimizer(parameters: ReadonlyMap<string, Variable>, settings: OptimizerSettings): Optimizer {
  const { beta1, beta2, epsilon } = settings;
  const slots = createSlots(parameters, settings);
  return {
    step(gradients, learningRate, gradientScale = 1) {
      const without: string[] = [];
      for (const [name, slot] of slots) {
        const gradient = gradients.get(name);
        if (!gradient) {
          without.push(name);
          continue;
        }
        slot.step++;
        const { parameter, m, v, weightDecay, step, multiplier } = slot;
        const rate = learningRate * multiplier;
        const hyper = { learningRate: rate, beta1, beta2, epsilon, weightDecay, step, gradientScale };
        adamw(parameter, gradient, m, v, hyper);
      }
      return without;
    },
    exportState: () => exportSlots(slots),
    importState: state => importSlots(slots, state),
    dispose() {
      for (const { m, v } of slots.values()) tf.dispose([m, v]);
    },
  };
}

async function exportSlots(slots: Map<string, Slot>): Promise<NamedTensor[]> {
  const state: NamedTensor[] = [];
  for (const [name, { m, v, step }] of slots) {
    // Copies: some backends hand out the memory they go on writing to.
    state.push([`${name}.exp_avg`, { shape: m.shape, values: Float32Array.from(await m.data()) }]);
    state.push([`${name}.exp_avg_sq`, { shape: v.shape, values: Float32Array.from(await v.data()) }]);
    state.push([`${name}.step`, { shape: [1], values: Float32Array.of(step) }]);
  }
  return state;
}

function importSlots(slots: Map<string, Slot>, state: Iterable<NamedTensor>): void {
  const arrays = new Map([...state].map(([name, { values }]) => [name, values]));
  const take = (name: string, length: number): Float32Array => {
    const values = arrays.get(name);
    if (!values) throw new UserError(`The saved optimizer state lacks ${name}: it belongs to another model.`);
    if (values.length !== length)
      throw new UserError(
        `The saved optimizer state has ${values.length} values in ${name}, the model needs ${length}.`,
      );
    arrays.delete(name);
    return values;
  };
  const found = [...slots].map(([name, slot]) => ({
    slot,
    m: take(`${name}.exp_avg`, slot.m.size),
    v: take(`${name}.exp_avg_sq`, slot.v.size),
    step: take(`${name}.step`, 1)[0],
  }));
  for (const name of arrays.keys())
    throw new UserError(`The saved optimizer state has ${name}, which this model does not train.`);
  for (const { slot, m, v, step } of found) {
    assign(slot.m, m);
    assign(slot.v, v);
    slot.step = step;
  }
}

const assign = (variable: Variable, values: Float32Array): void =>
  tf.tidy(() => variable.assign(tf.tensor(Float32Array.from(values), variable.shape, 'float32')));
