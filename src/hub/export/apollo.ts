// The layout of the published Apollo-MoE (arXiv 2410.10626; model_type upcycling-qwen2-moe): the same keys, names and bytes.
// Experts are as wide as the dense networks, and lm_head is stored although it is tied.
import { UserError } from '../../errors.ts';
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

const MODEL_TYPE = 'upcycling-qwen2-moe';
/** The Python files that stand beside the published weights. */
const REMOTE = {
  AutoConfig: 'configuration_upcycling_qwen2_moe.UpcyclingQwen2MoeConfig',
  AutoModelForCausalLM: 'modeling_upcycling_qwen2_moe.UpcyclingQwen2MoeForCausalLM',
};

/** @throws UserError for a model that computes what this architecture cannot */
export function apolloLayout(spec: ModelSpec, facts: ConfigFacts): Layout {
  refuseUnlikeQwen2(spec, 'apollo');
  refuseUnlikeApollo(spec);
  return { modelType: MODEL_TYPE, tensors: tensors(spec), configJson: pythonJson(config(spec, facts), QWEN2_FLOATS) };
}

function refuseUnlikeApollo(spec: ModelSpec): void {
  const { decoder, intermediate_size: F } = spec;
  if (!spec.layers.includes('moe'))
    throw new UserError(
      '--to apollo needs experts and this model is dense; use --to qwen2-moe, which writes it as qwen2.',
    );
  const widths = [
    decoder.moe_intermediate_size,
    ...(spec.shared_expert ? [decoder.shared_expert_intermediate_size] : []),
  ];
  const other = widths.find(width => width !== F);
  if (other !== undefined)
    throw new UserError(
      `--to apollo makes all experts as wide as the dense networks (${F}) and here one is ${other} wide; use --to qwen2-moe.`,
    );
}

function tensors(spec: ModelSpec): LaidOut[] {
  const own = qwen2Tensors(spec);
  const [{ shape, from }] = own;
  return spec.tie_word_embeddings ? [...own, { name: 'lm_head.weight', shape, from }] : own;
}

function config(spec: ModelSpec, { dtype, tokens }: ConfigFacts): Record<string, unknown> {
  return {
    architectures: ['UpcyclingQwen2MoeForCausalLM'],
    attention_dropout: 0,
    attn_init_change: false,
    auto_map: REMOTE,
    bos_token_id: tokens.bos,
    decoder_sparse_step: 1,
    eos_token_id: eosTokenId(tokens),
    hidden_act: 'silu',
    hidden_size: spec.hidden_size,
    initializer_range: spec.initializer_range,
    intermediate_size: spec.intermediate_size,
    language_gate: spec.router.kind === 'hybrid-k',
    max_position_embeddings: spec.max_position_embeddings,
    max_window_layers: spec.num_hidden_layers,
    mlp_only_layers: denseLayers(spec),
    model_type: MODEL_TYPE,
    moe_intermediate_size: spec.intermediate_size,
    norm_topk_prob: spec.norm_topk_prob,
    num_attention_heads: spec.num_attention_heads,
    num_experts: expertCounts(spec)[0],
    num_experts_per_tok: spec.num_experts_per_tok,
    num_hidden_layers: spec.num_hidden_layers,
    num_key_value_heads: spec.num_key_value_heads,
    output_router_logits: false,
    rms_norm_eps: spec.rms_norm_eps,
    rope_theta: spec.rope_theta,
    router_aux_loss_coef: spec.router.balance_coefficient,
    share_flag: spec.shared_expert,
    shared_expert_intermediate_size: spec.intermediate_size,
    sliding_window: spec.max_position_embeddings,
    tie_word_embeddings: spec.tie_word_embeddings,
    torch_dtype: dtype,
    transformers_version: '4.44.2',
    use_cache: true,
    use_sliding_window: false,
    vocab_size: spec.vocab_size,
  };
}
