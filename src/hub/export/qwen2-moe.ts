// A checkpoint that stock transformers loads without remote code (tested with 4.44.2 and 5.23.0): Qwen2MoeForCausalLM, or
// Qwen2ForCausalLM for a model without experts. mlp_only_layers keeps layers dense. That architecture has a shared expert in
// every MoE layer; a model without one gets one of zeros, which adds nothing: σ(0) · 0. config.json has the keys of both versions.
import { expertCounts, type ModelSpec } from '../../model/spec.ts';
import {
  type ConfigFacts,
  denseLayers,
  eosTokenId,
  type LaidOut,
  type Layout,
  QWEN2_FLOATS,
  qwen2Tensors,
} from './layout.ts';
import { pythonJson } from './python-json.ts';
import { refuseUnlikeQwen2 } from './refuse.ts';

/**
 * Of the shared expert that adds nothing. Width 0 works in transformers but not everywhere (empty tensors break converters
 * and loaders that count them); 128 divides among 8 GPUs and is a whole block of quantised formats, at 3 · 128 · D numbers per layer.
 */
const NULL_SHARED_WIDTH = 128;

/** @throws UserError for a model that computes what this architecture cannot */
export function qwen2MoeLayout(spec: ModelSpec, facts: ConfigFacts): Layout {
  refuseUnlikeQwen2(spec, 'qwen2-moe');
  const sparse = spec.layers.includes('moe');
  const config = { ...decoderConfig(spec, facts), ...(sparse ? expertConfig(spec) : denseNames) };
  return { modelType: config.model_type, tensors: tensors(spec), configJson: pythonJson(config, QWEN2_FLOATS) };
}

/** A router without a shared expert beside it gets one. */
function tensors(spec: ModelSpec): LaidOut[] {
  return qwen2Tensors(spec, ({ name }) => {
    const router = spec.shared_expert ? null : /^(.*\.mlp)\.gate\.weight$/.exec(name);
    return router ? nullShared(router[1], spec.hidden_size) : [];
  });
}

const nullShared = (at: string, D: number): LaidOut[] => [
  { name: `${at}.shared_expert.gate_proj.weight`, shape: [NULL_SHARED_WIDTH, D], from: null },
  { name: `${at}.shared_expert.up_proj.weight`, shape: [NULL_SHARED_WIDTH, D], from: null },
  { name: `${at}.shared_expert.down_proj.weight`, shape: [D, NULL_SHARED_WIDTH], from: null },
  { name: `${at}.shared_expert_gate.weight`, shape: [1, D], from: null },
];

const denseNames = { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2' };

function expertConfig(spec: ModelSpec) {
  const { decoder } = spec;
  return {
    architectures: ['Qwen2MoeForCausalLM'],
    model_type: 'qwen2_moe',
    decoder_sparse_step: 1,
    mlp_only_layers: denseLayers(spec),
    moe_intermediate_size: decoder.moe_intermediate_size,
    norm_topk_prob: spec.norm_topk_prob,
    num_experts: expertCounts(spec)[0],
    num_experts_per_tok: spec.num_experts_per_tok,
    output_router_logits: false,
    qkv_bias: true,
    router_aux_loss_coef: spec.router.balance_coefficient,
    shared_expert_intermediate_size: spec.shared_expert ? decoder.shared_expert_intermediate_size : NULL_SHARED_WIDTH,
  };
}

/** Version 4 reads rope_theta, rope_scaling and torch_dtype; version 5 rope_parameters, layer_types and dtype. */
function decoderConfig(spec: ModelSpec, { dtype, tokens }: ConfigFacts) {
  return {
    attention_dropout: 0,
    bos_token_id: tokens.bos,
    dtype,
    eos_token_id: eosTokenId(tokens),
    hidden_act: 'silu',
    hidden_size: spec.hidden_size,
    initializer_range: spec.initializer_range,
    intermediate_size: spec.intermediate_size,
    layer_types: spec.layers.map(() => 'full_attention'),
    max_position_embeddings: spec.max_position_embeddings,
    max_window_layers: spec.num_hidden_layers,
    num_attention_heads: spec.num_attention_heads,
    num_hidden_layers: spec.num_hidden_layers,
    num_key_value_heads: spec.num_key_value_heads,
    pad_token_id: tokens.pad,
    rms_norm_eps: spec.rms_norm_eps,
    rope_parameters: { rope_theta: spec.rope_theta, rope_type: 'default' },
    rope_scaling: null,
    rope_theta: spec.rope_theta,
    sliding_window: spec.max_position_embeddings,
    tie_word_embeddings: spec.tie_word_embeddings,
    torch_dtype: dtype,
    use_cache: true,
    use_sliding_window: false,
    vocab_size: spec.vocab_size,
  };
}
