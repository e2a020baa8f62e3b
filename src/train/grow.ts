// The moment in a run when the dense model grows experts, and the check that nothing was lost: on held-out text each new
// MoE layer must answer (sum of its gates) × the dense FFN, that is the dense FFN itself when gates are renormalised.
import { ffn } from '../../experts/ffn.ts';
import { expectedScale, type RouterInit, upcyclingError } from '../../experts/upcycle.ts';
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import { batchesOf } from '../data/pack.ts';
import type { TokenDocument } from '../data/types.ts';
import { linear } from '../engine/ops/linear.ts';
import { readTogether } from '../engine/read-together.ts';
import { type Tensor, type Tensor2D, tf } from '../engine/tf.ts';
import { UserError } from '../errors.ts';
import { sampleByLanguage } from '../eval/evaluate.ts';
import { moeBlock } from '../model/moe-block.ts';
import { recordRoutings } from '../model/observed.ts';
import { type ModelSpec, modelSpec } from '../model/spec.ts';
import { type TokenInput, tokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import { upcycleTensors } from '../model/upcycle.ts';
import { createModel, disposeModel, hostTensors, type Model } from '../model/weights.ts';
import type { Rng } from './rng.ts';

export interface Growth {
  model: Model;
  /** Largest |MoE(x) − scale · FFN(x)| relative to the largest |FFN(x)|, over all new layers. */
  error: number;
  /** Mean sum of gates per token: 1 when renormalised. */
  meanScale: number;
  /** One sentence for people. */
  sentence: string;
}

/** Exact copies must agree to fp32 rounding. */
const LARGEST_ERROR = 1e-5;

/**
 * Turns a dense model into the mixture that the configuration plans and checks it on `sample`. The dense model stays the caller's.
 * @throws Error if exact copies do not reproduce the dense layers: a fault of the program
 * @throws UserError for a hidden-mean or centred router start without held-out text
 */
export async function growExperts(
  dense: Model,
  config: Config,
  map: FamilyMap,
  sample: TokenDocument[],
  rng: Rng,
): Promise<Growth> {
  const { noise } = config.upcycle;
  const spec = modelSpec(config.model, config.router, map, dense.spec.vocab_size, false, dense.spec.decoder);
  const init = await routerInit(dense, spec, () => inputsOf(config, map, sample));
  const normal = () => rng.gaussian();
  const from = await hostTensors(dense);
  const model = createModel(spec, upcycleTensors(from, spec, { noise, router: init, normal }), 'the upcycled model');
  try {
    // A document of each language is enough to reach every expert that has one.
    const { error, meanScale } = await compare(dense, model, inputsOf(config, map, sampleByLanguage(sample, 1)));
    const different = noise === 0 ? await differentCopy(dense, model) : null;
    if (different !== null || (noise === 0 && !(error <= LARGEST_ERROR))) {
      const what = different ?? `layer error ${error} is above ${LARGEST_ERROR}`;
      throw new Error(`upcycling changed the model: ${what}`);
    }
    return { model, error, meanScale, sentence: describe(spec, error, meanScale, noise) };
  } catch (fault) {
    disposeModel(model);
    throw fault;
  }
}

function* inputsOf({ data, train }: Config, map: FamilyMap, documents: TokenDocument[]): Generator<TokenInput> {
  const shape = { batch: train.batch_size, sequence: data.sequence_length, padId: 0, packing: 'isolated' as const };
  const expertOfLanguage = Int32Array.from(map.languages, language => language.expert);
  for (const batch of batchesOf(documents, shape)) yield tokenInput(batch, expertOfLanguage);
}

/** Calls `see` with the normed input [T, D] of each layer that will be sparse, one after the other. */
async function seeFfnInputs(
  dense: Model,
  sparse: ModelSpec,
  tokens: TokenInput,
  see: (layer: number, x_TD: Tensor2D) => Promise<void>,
): Promise<void> {
  const inputs: [layer: number, x_TD: Tensor2D][] = [];
  const onFfnInput = (layer: number, x_TD: Tensor2D): void => {
    if (sparse.layers[layer] === 'moe') inputs.push([layer, tf.keep(x_TD.clone())]);
  };
  try {
    tf.tidy(() => {
      forward(dense, tokens, { mode: 'free', onFfnInput });
    });
    for (const [layer, x_TD] of inputs) {
      await see(layer, x_TD);
      x_TD.dispose();
    }
  } finally {
    for (const [, x_TD] of inputs) x_TD.dispose();
  }
}

/** Router start by layer. Hidden means are taken over all of the sample, so that every language has its say. */
async function routerInit(
  dense: Model,
  sparse: ModelSpec,
  sample: () => Iterable<TokenInput>,
): Promise<(layer: number) => RouterInit> {
  const { init, init_std: std, init_bias } = sparse.router;
  const biasOf = (layer: number): number => (Array.isArray(init_bias) ? init_bias[layer] : init_bias);
  const biased = init === 'normal' && sparse.layers.some((_, layer) => biasOf(layer) > 0);
  if (init === 'zero') return () => ({ kind: 'zero' });
  if (init !== 'hidden-mean' && init !== 'centred' && !biased) return () => ({ kind: init, std });
  const means = await hiddenMeans(dense, sparse, sample());
  if (means.size === 0)
    throw new UserError(
      `router.init ${init}${biased ? ' with init_bias' : ''} needs held-out text and there is none; add text, or use init normal.`,
    );
  return layer => {
    const mean_ED = means.get(layer)!;
    return init === 'normal' ? { kind: 'biased', std, bias: biasOf(layer), mean_ED } : { kind: init, std, mean_ED };
  };
}

/** Mean input of each sparse layer over the tokens of each expert's languages, [E, D]; 0 for an expert without tokens. */
async function hiddenMeans(
  dense: Model,
  sparse: ModelSpec,
  sample: Iterable<TokenInput>,
): Promise<Map<number, Float32Array>> {
  const { numExperts: E, hidden_size: D } = sparse;
  const sums = new Map<number, Float64Array>();
  const tokens_E = new Float64Array(E);
  for (const tokens of sample) {
    const expert_T = tokens.languageExpert_T!;
    for (const e of expert_T) if (e >= 0) tokens_E[e]++;
    await seeFfnInputs(dense, sparse, tokens, async (layer, x_TD) => {
      const x = await x_TD.data();
      const sum_ED = sums.get(layer) ?? new Float64Array(E * D);
      sums.set(layer, sum_ED);
      expert_T.forEach((e, t) => {
        if (e >= 0) for (let d = 0; d < D; d++) sum_ED[e * D + d] += x[t * D + d];
      });
    });
  }
  const mean = (sum_ED: Float64Array) =>
    Float32Array.from(sum_ED, (s, i) => s / Math.max(1, tokens_E[Math.floor(i / D)]));
  return new Map([...sums].map(([layer, sum_ED]) => [layer, mean(sum_ED)]));
}

/** Largest layer error and mean gate sum over all tokens. */
async function compare(
  dense: Model,
  model: Model,
  sample: Iterable<TokenInput>,
): Promise<{ error: number; meanScale: number }> {
  let error = 0;
  let mass = 0;
  let seen = 0;
  for (const tokens of sample) {
    await seeFfnInputs(dense, model.spec, tokens, async (layer, x_TD) => {
      const found = await compareLayer(dense, model, layer, x_TD, tokens);
      error = Math.max(error, found.error); // carries a NaN on
      found.scale_T.forEach((scale, t) => {
        if (tokens.counted_T[t] === 0) return;
        mass += scale;
        seen++;
      });
    });
  }
  return { error, meanScale: mass / seen };
}

/** One layer's answer beside scale × dense FFN. Capacity is lifted: what it drops is not the copies' fault. */
async function compareLayer(dense: Model, model: Model, layer: number, x_TD: Tensor2D, tokens: TokenInput) {
  const at = `model.layers.${layer}`;
  const matrix = (from: Model, name: string) => from.weights.get(`${at}.${name}.weight`) as unknown as Tensor2D;
  const dropless = { ...model, spec: { ...model.spec, capacity_factor: null } };
  const recorder = recordRoutings();
  let answers: Tensor[] = [];
  try {
    answers = tf.tidy(() => {
      const dense_TD = ffn(x_TD, {
        gate_proj: matrix(dense, 'mlp.gate_proj'),
        up_proj: matrix(dense, 'mlp.up_proj'),
        down_proj: matrix(dense, 'mlp.down_proj'),
      });
      const { y_TD } = moeBlock(dropless, layer, x_TD, name => model.weights.get(`${at}.${name}`)!, tokens, {
        mode: model.spec.router.train_mode,
        onRouting: recorder.observe,
      });
      const sharedGate = matrix(model, 'mlp.shared_expert_gate');
      return [y_TD, dense_TD, ...(sharedGate ? [linear(x_TD, sharedGate).sigmoid()] : [])];
    });
    const [[y_TD, dense_TD, sharedGate_T]] = await readTogether(answers);
    const [{ gate_TK, k }] = await recorder.read();
    const scale_T = expectedScale(gate_TK, k, sharedGate_T);
    return { error: upcyclingError(y_TD, dense_TD, scale_T), scale_T };
  } finally {
    tf.dispose(answers);
    recorder.dispose();
  }
}

/** The first expert tensor that is not the dense one bit for bit: finds what no token of the sample reaches. */
async function differentCopy(dense: Model, model: Model): Promise<string | null> {
  for (const [name, copy] of model.weights) {
    if (!name.includes('.mlp.experts.')) continue;
    const original = await dense.weights.get(name.replace(/experts\.\d+\./, ''))!.data();
    if (!(await copy.data()).every((value, i) => Object.is(value, original[i]))) return `${name} is no copy`;
  }
  return null;
}

function describe(spec: ModelSpec, error: number, meanScale: number, noise: number): string {
  const layers = spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : [])).join(', ');
  const same = Math.abs(meanScale - 1) < 1e-6;
  const scale = same ? 'the dense model' : `${meanScale.toFixed(3)} × the dense FFN (the mean sum of gates)`;
  const exact = noise === 0 ? `step 0 equals ${scale}` : `step 0 is ${scale} but for noise ${noise}`;
  return `Layers ${layers}: FFN copied into ${spec.numExperts} experts; ${exact}, largest relative deviation ${error.toExponential(1)}.`;
}
