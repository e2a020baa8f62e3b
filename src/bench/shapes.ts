// What is measured: the models of the benchmark, the same in bench/torch_baseline.py. Sizes and nothing else.
// Shapes: B sequences of S positions, D width, F feed-forward width, E experts of width X, k per token, V vocabulary.
import { type Config, configSchema } from '../config/schema.ts';
import { type ModelSpec, modelSpec, qwen2Decoder, type TensorSpec, tensorSpecs } from '../model/spec.ts';

export interface Shape {
  layers: number;
  width: number;
  heads: number;
  keyValueHeads: number;
  /** Width of the feed-forward network of dense layers. */
  feedForward: number;
  vocabulary: number;
  /** Whether the head shares the embedding table. */
  tied: boolean;
  ropeTheta: number;
  /** MoE layers are the last ones; 0 is a dense model. */
  moeLayers: number;
  experts: number;
  expertWidth: number;
  expertsPerToken: number;
  batch: number;
  sequence: number;
}

/** 10.5 M parameters, about 53 GFLOP a step. */
const DENSE: Shape = {
  layers: 6,
  width: 256,
  heads: 8,
  keyValueHeads: 8,
  feedForward: 1024,
  vocabulary: 8192,
  tied: false,
  ropeTheta: 10_000,
  moeLayers: 0,
  experts: 0,
  expertWidth: 0,
  expertsPerToken: 0,
  batch: 8,
  sequence: 128,
};
/** The same active size: two experts of width 512 are one network of width 1024. */
const POST_MOE: Shape = { ...DENSE, moeLayers: 2, experts: 7, expertWidth: 512, expertsPerToken: 2 };

/** Models of a training step. `tiny` has every part (grouped queries, both kinds of layer) and takes milliseconds. */
export const TRAINING: Record<string, Shape> = {
  dense: DENSE,
  'post-moe': POST_MOE,
  'post-moe-64': { ...POST_MOE, experts: 64 },
  tiny: {
    ...POST_MOE,
    layers: 2,
    width: 32,
    heads: 4,
    keyValueHeads: 2,
    feedForward: 64,
    vocabulary: 50,
    moeLayers: 1,
    experts: 4,
    expertWidth: 24,
    batch: 2,
    sequence: 16,
  },
};

/** Models of a forward pass over one sequence: Qwen2-0.5B by its published configuration, and a tiny one. */
export const INFERENCE: Record<string, Shape> = {
  'qwen2-0.5b': {
    ...DENSE,
    layers: 24,
    width: 896,
    heads: 14,
    keyValueHeads: 2,
    feedForward: 4864,
    vocabulary: 151_936,
    tied: true,
    ropeTheta: 1_000_000,
    batch: 1,
  },
  tiny: { ...TRAINING.tiny, moeLayers: 0, experts: 0, expertWidth: 0, expertsPerToken: 0, tied: true, batch: 1 },
};

/** One MoE layer. */
export interface LayerShape {
  tokens: number;
  width: number;
  expertWidth: number;
  experts: number;
  expertsPerToken: number;
}
export const layerShape = (tokens: number): LayerShape => ({
  tokens,
  width: 256,
  expertWidth: 1024,
  experts: 8,
  expertsPerToken: 2,
});

/** Settings of a run with this shape: `moe train`'s own, but for a constant rate and one rate for all parameters. */
export function benchConfig(shape: Shape): Config {
  const families = { name: 'bench', families: [{ name: 'all', expert: 0, languages: [LANGUAGE] }] };
  const config = configSchema.parse({
    families,
    model: {
      hidden_size: shape.width,
      intermediate_size: shape.feedForward,
      num_hidden_layers: shape.layers,
      num_attention_heads: shape.heads,
      num_key_value_heads: shape.keyValueHeads,
      rope_theta: shape.ropeTheta,
      tie_word_embeddings: shape.tied,
      max_position_embeddings: shape.sequence,
      moe_layers: `last ${shape.moeLayers}`,
      num_experts_per_tok: Math.max(1, shape.expertsPerToken),
    },
    router: { kind: 'top-k', train_mode: 'free', inference_mode: 'free' },
    train: { schedule: 'constant', warmup: 0, multipliers: { router: 1, experts: 1, trunk: 1 } },
  });
  return { ...config, families };
}

const LANGUAGE = { code: 'en', name: 'English', script: 'Latn' };

export const benchSpec = (shape: Shape): ModelSpec => {
  const { model, router } = benchConfig(shape);
  const decoder = { ...qwen2Decoder(model), moe_intermediate_size: shape.expertWidth };
  return modelSpec(model, router, { numExperts: shape.experts }, shape.vocabulary, false, decoder);
};

/** Every tensor of the model. */
export const benchTensors = (shape: Shape): TensorSpec[] => tensorSpecs(benchSpec(shape));

export const sizeOf = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

export const parameterCount = (shape: Shape): number =>
  benchTensors(shape).reduce((sum, tensor) => sum + sizeOf(tensor.shape), 0);
