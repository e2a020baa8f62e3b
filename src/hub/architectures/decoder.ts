// What all architectures here share: a pre-norm decoder with rotary grouped-query attention and SwiGLU networks, some of them
// mixtures of experts. Each architecture's own file adds its differences to this.
import type { LayerKind } from '../../config/layer-plan.ts';
import { configSchema, type RouterSettings } from '../../config/schema.ts';
import type { DecoderSpec, ModelSpec } from '../../model/spec.ts';
import { rotaryOf } from './rotary.ts';
import { booleanOf, countOf, type ForeignConfig, layersOf, mustBeOneOf, numberOf, refuse, sizeOf } from './settings.ts';

/** One architecture of the transformers library. */
export interface Architecture {
  /** config.json's model_type. */
  modelType: string;
  /** @throws UserError for a setting that this version cannot compute */
  spec(config: ForeignConfig): ModelSpec;
  /** Another name under which files of this architecture have a tensor of ours. */
  alias?(name: string): string | null;
  /** Tensors that may be in a file of such a model although its forward pass never reads them. */
  unread?(spec: ModelSpec): RegExp | null;
}

/** What the library takes where the file says nothing. */
export interface Usual {
  rms_norm_eps?: number;
  rope_theta?: number;
}

export interface Experts {
  layers: LayerKind[];
  numExperts: number;
  num_experts_per_tok: number;
  norm_topk_prob: boolean;
  shared_expert: boolean;
  router?: RouterSettings;
}

/** @param differences of the decoder from plain Llama @param experts null for a dense model */
export function decoderSpec(
  config: ForeignConfig,
  differences: Partial<DecoderSpec> = {},
  experts: Experts | null = null,
  usual: Usual = {},
): ModelSpec {
  mustBeOneOf(config, 'hidden_act', ['silu', 'swish']);
  if ((config.json.quantization_config ?? null) !== null)
    refuse(config, 'quantization_config', 'quantised weights are not supported, take the checkpoint in bf16 or fp32');
  const { rope_theta, rope_scaling } = rotaryOf(config, usual.rope_theta ?? 10_000);
  const heads = sizeOf(config, 'num_attention_heads');
  const intermediate = sizeOf(config, 'intermediate_size');
  const num_hidden_layers = countOf(config, 'num_hidden_layers');
  return {
    vocab_size: sizeOf(config, 'vocab_size'),
    hidden_size: sizeOf(config, 'hidden_size'),
    intermediate_size: intermediate,
    num_hidden_layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads(config, heads),
    rope_theta,
    rms_norm_eps: numberOf(config, 'rms_norm_eps', usual.rms_norm_eps ?? 1e-6),
    tie_word_embeddings: booleanOf(config, 'tie_word_embeddings', false),
    initializer_range: numberOf(config, 'initializer_range', 0.02),
    max_position_embeddings: sizeOf(config, 'max_position_embeddings'),
    capacity_factor: null,
    ...(experts === null ? withoutExperts(num_hidden_layers) : { router: topK, ...experts }),
    decoder: {
      head_dim: headWidth(config, heads),
      qkv_bias: false,
      o_bias: false,
      qk_norm: 'none',
      clip_qkv: null,
      window_L: Array.from({ length: num_hidden_layers }, () => null),
      rope_scaling,
      moe_intermediate_size: intermediate,
      shared_expert_intermediate_size: intermediate,
      ...differences,
    },
  };
}

function headWidth(config: ForeignConfig, heads: number): number {
  const width = sizeOf(config, 'head_dim', sizeOf(config, 'hidden_size') / heads);
  return width % 2 === 0 ? width : refuse(config, 'head_dim', `rotary positions need an even head width, not ${width}`);
}

function keyValueHeads(config: ForeignConfig, heads: number): number {
  const own = sizeOf(config, 'num_key_value_heads', heads);
  return heads % own === 0 ? own : refuse(config, 'num_key_value_heads', `it does not divide ${heads} query heads`);
}

/** Foreign models know no languages. */
const topK: RouterSettings = {
  ...configSchema.shape.router.parse({}),
  kind: 'top-k',
  train_mode: 'free',
  inference_mode: 'free',
};

/** The router settings are for the experts that it may get; nothing reads them before. */
function withoutExperts(layers: number) {
  return {
    layers: Array.from({ length: layers }, () => 'dense' as const),
    numExperts: 0,
    num_experts_per_tok: 2,
    norm_topk_prob: true,
    shared_expert: false,
    router: configSchema.shape.router.parse({}),
  };
}

/** How many experts a token passes, at most all of them. */
export function expertsPerToken(config: ForeignConfig, numExperts: number): number {
  const k = sizeOf(config, 'num_experts_per_tok');
  return k <= numExperts ? k : refuse(config, 'num_experts_per_tok', `there are only ${numExperts} experts`);
}

/** Qwen's rule: layer i is sparse unless mlp_only_layers lists it or decoder_sparse_step does not divide i + 1. */
export function sparseLayers(config: ForeignConfig): LayerKind[] {
  const dense = new Set(layersOf(config, 'mlp_only_layers'));
  const step = sizeOf(config, 'decoder_sparse_step', 1);
  const isSparse = (layer: number): boolean => !dense.has(layer) && (layer + 1) % step === 0;
  return Array.from({ length: countOf(config, 'num_hidden_layers') }, (_, i) => (isSparse(i) ? 'moe' : 'dense'));
}

/** Four times those of the largest published model; a hostile file must not make us list millions of tensors. */
const MOST_EXPERTS = 2 ** 17;

/** The number of experts by its name in either version. */
export function expertsOf(config: ForeignConfig): number {
  const key = (config.json.num_experts ?? null) === null ? 'num_local_experts' : 'num_experts';
  const count = countOf(config, key);
  const all = count * countOf(config, 'num_hidden_layers');
  return all <= MOST_EXPERTS
    ? count
    : refuse(config, key, `${all} experts in all layers are more than ${MOST_EXPERTS}`);
}
