// A model's shape: everything its forward pass needs to know, and the tensors it has, by Hugging Face name.
// Shapes: V vocabulary, D width, F expert width, H query heads, G key/value heads, d head width, E experts.
import type { FamilyMap } from '../config/families.ts';
import { type LayerKind, planLayers } from '../config/layer-plan.ts';
import type { ModelSettings, RouterSettings } from '../config/schema.ts';

export interface ModelSpec extends Omit<ModelSettings, 'moe_layers' | 'vocab_size' | 'embedding_offset'> {
  vocab_size: number;
  layers: LayerKind[];
  /** Of every layer, or of every layer before the model was pruned: ids of experts are below it. */
  numExperts: number;
  router: RouterSettings;
  decoder: DecoderSpec;
  /** Of a pruned model: per layer the experts that are left, ascending, by their ids before; null where all are. The i-th of
   *  them is the layer's expert i in the names of tensors. */
  kept_experts?: (number[] | null)[];
}

/** How many experts a layer has. */
export const expertsIn = (spec: Pick<ModelSpec, 'numExperts' | 'kept_experts'>, layer: number): number =>
  spec.kept_experts?.[layer]?.length ?? spec.numExperts;

/** What tells published decoders apart. Hugging Face's names where it has them. */
export interface DecoderSpec {
  /** d; queries are H · d wide, which need not be D. */
  head_dim: number;
  /** Biases of the query, key and value projections, and of the output projection. */
  qkv_bias: boolean;
  o_bias: boolean;
  /** RMSNorm of queries and keys before they turn: of each head (Qwen3) or of the whole projection (OLMoE). */
  qk_norm: 'none' | 'head' | 'width';
  /** Queries, keys and values are limited to ± this (OLMoE). */
  clip_qkv: number | null;
  /** How many positions each layer sees back, its own included; null is all. */
  window_L: (number | null)[];
  rope_scaling: RopeScaling | null;
  moe_intermediate_size: number;
  shared_expert_intermediate_size: number;
}

/** How rotary frequencies are stretched for longer texts. */
export interface RopeScaling {
  rope_type: 'linear' | 'llama3';
  factor: number;
  /** llama3 only: wavelengths beyond original / low are stretched, below original / high are kept, and between them mixed. */
  low_freq_factor: number;
  high_freq_factor: number;
  original_max_position_embeddings: number;
}

/** The different numbers of experts of its sparse layers, ascending: one but for a model that was pruned unevenly. */
export const expertCounts = (spec: Pick<ModelSpec, 'layers' | 'numExperts' | 'kept_experts'>): number[] => {
  const counts = spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [expertsIn(spec, layer)] : []));
  return [...new Set(counts)].sort((a, b) => a - b);
};

/** Qwen2, the decoder that this program trains from scratch. */
export const qwen2Decoder = (settings: ModelSettings): DecoderSpec => ({
  head_dim: settings.hidden_size / settings.num_attention_heads,
  qkv_bias: true,
  o_bias: false,
  qk_norm: 'none',
  clip_qkv: null,
  window_L: Array.from({ length: settings.num_hidden_layers }, () => null),
  rope_scaling: null,
  moe_intermediate_size: settings.intermediate_size,
  shared_expert_intermediate_size: settings.intermediate_size,
});

export interface TensorSpec {
  name: string;
  shape: number[];
  role: 'embedding' | 'norm' | 'matrix' | 'bias' | 'router' | 'expert' | 'shared';
}

/** @param dense plan every layer dense: the model before it is upcycled */
export function modelSpec(
  settings: ModelSettings,
  router: RouterSettings,
  map: Pick<FamilyMap, 'numExperts'>,
  vocabSize: number,
  dense = false,
  decoder = qwen2Decoder(settings),
): ModelSpec {
  const { moe_layers, vocab_size: _, embedding_offset: __, ...rest } = settings;
  const layers = planLayers(dense ? 'none' : moe_layers, settings.num_hidden_layers);
  if ('error' in layers) throw new RangeError(layers.error);
  return { ...rest, router, layers, numExperts: map.numExperts, vocab_size: vocabSize, decoder };
}

/** Every trainable tensor in the order of the checkpoint. */
export function tensorSpecs(spec: ModelSpec): TensorSpec[] {
  const { hidden_size: D, vocab_size: V } = spec;
  const { head_dim, qkv_bias, o_bias, qk_norm } = spec.decoder;
  const [q, kv] = [spec.num_attention_heads * head_dim, spec.num_key_value_heads * head_dim];
  const out: TensorSpec[] = [{ name: 'model.embed_tokens.weight', shape: [V, D], role: 'embedding' }];
  spec.layers.forEach((kind, i) => {
    const at = `model.layers.${i}`;
    out.push({ name: `${at}.input_layernorm.weight`, shape: [D], role: 'norm' });
    for (const [name, width] of [
      ['q', q],
      ['k', kv],
      ['v', kv],
    ] as const) {
      out.push({ name: `${at}.self_attn.${name}_proj.weight`, shape: [width, D], role: 'matrix' });
      if (qkv_bias) out.push({ name: `${at}.self_attn.${name}_proj.bias`, shape: [width], role: 'bias' });
    }
    out.push({ name: `${at}.self_attn.o_proj.weight`, shape: [D, q], role: 'matrix' });
    if (o_bias) out.push({ name: `${at}.self_attn.o_proj.bias`, shape: [D], role: 'bias' });
    if (qk_norm !== 'none') {
      const [ofQ, ofK] = qk_norm === 'head' ? [head_dim, head_dim] : [q, kv];
      out.push({ name: `${at}.self_attn.q_norm.weight`, shape: [ofQ], role: 'norm' });
      out.push({ name: `${at}.self_attn.k_norm.weight`, shape: [ofK], role: 'norm' });
    }
    out.push({ name: `${at}.post_attention_layernorm.weight`, shape: [D], role: 'norm' });
    if (kind === 'dense') out.push(...ffnSpecs(`${at}.mlp`, D, spec.intermediate_size, 'matrix'));
    else out.push(...moeSpecs(`${at}.mlp`, spec, expertsIn(spec, i)));
  });
  out.push({ name: 'model.norm.weight', shape: [D], role: 'norm' });
  if (!spec.tie_word_embeddings) out.push({ name: 'lm_head.weight', shape: [V, D], role: 'embedding' });
  return out;
}

function moeSpecs(at: string, spec: ModelSpec, E: number): TensorSpec[] {
  const { hidden_size: D, decoder } = spec;
  const out: TensorSpec[] = [{ name: `${at}.gate.weight`, shape: [E, D], role: 'router' }];
  for (let e = 0; e < E; e++) {
    out.push(...ffnSpecs(`${at}.experts.${e}`, D, decoder.moe_intermediate_size, 'expert'));
  }
  if (spec.shared_expert) {
    out.push(...ffnSpecs(`${at}.shared_expert`, D, decoder.shared_expert_intermediate_size, 'shared'));
    out.push({ name: `${at}.shared_expert_gate.weight`, shape: [1, D], role: 'router' });
  }
  return out;
}

function ffnSpecs(at: string, D: number, F: number, role: TensorSpec['role']): TensorSpec[] {
  return [
    { name: `${at}.gate_proj.weight`, shape: [F, D], role },
    { name: `${at}.up_proj.weight`, shape: [F, D], role },
    { name: `${at}.down_proj.weight`, shape: [D, F], role },
  ];
}
