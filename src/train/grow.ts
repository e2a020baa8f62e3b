// The moment in a run when the dense model grows experts, and the check that nothing was lost: on held-out text each new
// MoE layer must answer (sum of its gates) × the dense FFN, that is the dense FFN itself when gates are renormalised.
import { ffn } from '../../experts/ffn.ts';
import { expectedScale, type RouterInit, upcyclingError } from '../../experts/upcycle.ts';
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import { batchesOf } from '../data/pack.ts';
import type { Batch, TokenDocument } from '../data/types.ts';
import { linear } from '../engine/ops/linear.ts';
import { type Tensor2D, tf } from '../engine/tf.ts';
import { moeBlock } from '../model/moe-block.ts';
import { type ModelSpec, modelSpec } from '../model/spec.ts';
import { type TokenInput, tokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import { upcycleTensors } from '../model/upcycle.ts';
import { createModel, type HostTensor, hostTensors, type Model } from '../model/weights.ts';
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
 */
export function growExperts(dense: Model, config: Config, map: FamilyMap, sample: TokenDocument[], rng: Rng): Growth {
  const spec = modelSpec(config.model, config.router, map, dense.spec.vocab_size);
  const batch = firstBatch(config, sample);
  const tokens = tokenInput(
    batch,
    Int32Array.from(map.languages, language => language.expert),
  );
  const inputs = ffnInputs(dense, spec, tokens);
  const tensors = upcycleTensors(new Map<string, HostTensor>(hostTensors(dense)), spec, {
    noise: config.upcycle.noise,
    router: layer => routerInit(spec, tokens, inputs.get(layer)!),
    random: () => rng.uniform(),
  });
  const model = createModel(spec, tensors, 'the upcycled model');
  const { error, meanScale } = compare(dense, model, tokens, inputs);
  for (const x_TD of inputs.values()) x_TD.dispose();
  if (config.upcycle.noise === 0 && !(error <= LARGEST_ERROR))
    throw new Error(`upcycling changed the model: layer error ${error} is above ${LARGEST_ERROR}`);
  return { model, error, meanScale, sentence: describe(spec, error, meanScale, config.upcycle.noise) };
}

function firstBatch({ data, train }: Config, sample: TokenDocument[]): Batch {
  const shape = { batch: train.batch_size, sequence: data.sequence_length, padId: 0, packing: 'isolated' as const };
  return batchesOf(sample, shape).next().value as Batch;
}

/** The normed inputs of the layers that will be sparse, kept for the caller to dispose. */
function ffnInputs(dense: Model, sparse: ModelSpec, tokens: TokenInput): Map<number, Tensor2D> {
  const inputs = new Map<number, Tensor2D>();
  tf.tidy(() => {
    forward(dense, tokens, {
      mode: 'free',
      onFfnInput: (layer, x_TD) => {
        if (sparse.layers[layer] === 'moe') inputs.set(layer, tf.keep(x_TD.clone()));
      },
    });
  });
  return inputs;
}

function routerInit({ router, numExperts }: ModelSpec, tokens: TokenInput, x_TD: Tensor2D): RouterInit {
  if (router.init !== 'hidden-mean')
    return router.init === 'zero' ? { kind: 'zero' } : { kind: router.init, std: router.init_std };
  const [T, D] = x_TD.shape;
  const x = x_TD.dataSync();
  const mean_ED = new Float32Array(numExperts * D);
  const count = new Float64Array(numExperts);
  for (let t = 0; t < T; t++) if (tokens.languageExpert_T![t] >= 0) count[tokens.languageExpert_T![t]]++;
  for (let t = 0; t < T; t++) {
    const e = tokens.languageExpert_T![t];
    if (e >= 0) for (let d = 0; d < D; d++) mean_ED[e * D + d] += x[t * D + d] / count[e];
  }
  return { kind: 'hidden-mean', std: router.init_std, mean_ED };
}

function compare(dense: Model, model: Model, tokens: TokenInput, inputs: Map<number, Tensor2D>) {
  let error = 0;
  let mass = 0;
  for (const [layer, x_TD] of inputs) {
    const weight = (name: string) =>
      dense.weights.get(`model.layers.${layer}.mlp.${name}.weight`) as unknown as Tensor2D;
    tf.tidy(() => {
      const dense_TD = ffn(x_TD, {
        gate_proj: weight('gate_proj'),
        up_proj: weight('up_proj'),
        down_proj: weight('down_proj'),
      });
      let scale_T: Float64Array = new Float64Array();
      const shared = model.weights.get(`model.layers.${layer}.mlp.shared_expert_gate.weight`) as unknown as Tensor2D;
      const sharedGate_T = shared && linear(x_TD, shared).sigmoid().dataSync();
      const moe = moeBlock(model, layer, x_TD, name => model.weights.get(`model.layers.${layer}.${name}`)!, tokens, {
        mode: model.spec.router.train_mode,
        onRouting: (_, { gate_TK, k }) => {
          scale_T = expectedScale(gate_TK.dataSync(), k, sharedGate_T);
        },
      });
      error = Math.max(error, upcyclingError(moe.y_TD.dataSync(), dense_TD.dataSync(), scale_T));
      mass += scale_T.reduce((a, b) => a + b, 0) / scale_T.length / inputs.size;
    });
  }
  return { error, meanScale: mass };
}

function describe(spec: ModelSpec, error: number, meanScale: number, noise: number): string {
  const layers = spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : [])).join(', ');
  const scale = spec.norm_topk_prob
    ? 'the dense model'
    : `${meanScale.toFixed(3)} × the dense FFN (the mean chosen mass)`;
  const exact = noise === 0 ? `step 0 equals ${scale}` : `step 0 is ${scale} but for noise ${noise}`;
  return `Layers ${layers}: FFN copied into ${spec.numExperts} experts; ${exact}, largest relative deviation ${error.toExponential(1)}.`;
}
