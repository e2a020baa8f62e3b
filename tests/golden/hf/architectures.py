# The configurations of make.py: as small as they can be while each thing that sets an architecture apart still
# changes the logits (a window shorter than the sequences, a head width that is not D / H, norms with an epsilon that
# shows, …).
import copy

V, D, F = 96, 32, 48
COMMON = dict(
    vocab_size=V, hidden_size=D, intermediate_size=F, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=128, rms_norm_eps=1e-3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)


def rope(theta, rope_type='default', **more):
    return {'rope_parameters': {'rope_type': rope_type, 'rope_theta': theta, **more}}


YARN = dict(factor=4.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1)
MLA = dict(
    kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=12, num_key_value_heads=4,
    n_routed_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2, moe_intermediate_size=16,
    first_k_dense_replace=1, routed_scaling_factor=1.5,
)
QWEN2_MOE = dict(
    model_type='qwen2_moe', num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24,
    shared_expert_intermediate_size=40, use_sliding_window=False, tie_word_embeddings=False,
)

ARCHITECTURES = {
    'qwen2-tied': COMMON | rope(1e4) | dict(model_type='qwen2', tie_word_embeddings=True, rms_norm_eps=1e-6),
    'qwen2-untied': COMMON | rope(1e6) | dict(model_type='qwen2', tie_word_embeddings=False, rms_norm_eps=1e-6),
    'qwen2-window': COMMON | rope(1e4) | dict(
        model_type='qwen2', tie_word_embeddings=True, use_sliding_window=True, sliding_window=6, max_window_layers=1,
    ),
    'llama3': COMMON | dict(model_type='llama', head_dim=16, tie_word_embeddings=False) | rope(
        500.0, 'llama3', factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32,
    ),
    'mistral': COMMON | rope(1e4) | dict(model_type='mistral', sliding_window=6, head_dim=8, tie_word_embeddings=False),
    'mixtral': COMMON | rope(1e6) | dict(
        model_type='mixtral', num_local_experts=4, num_experts_per_tok=2, num_hidden_layers=2,
        tie_word_embeddings=False,
    ),
    'qwen2_moe': COMMON | rope(1e6) | QWEN2_MOE | dict(mlp_only_layers=[0], norm_topk_prob=False),
    'qwen2_moe-norm': COMMON | rope(1e6) | QWEN2_MOE | dict(
        num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1], norm_topk_prob=True,
    ),
    'qwen3': COMMON | rope(1e6) | dict(model_type='qwen3', head_dim=16, tie_word_embeddings=True),
    'qwen3_moe': COMMON | rope(1e6) | dict(
        model_type='qwen3_moe', head_dim=16, num_experts=8, num_experts_per_tok=2, moe_intermediate_size=24,
        norm_topk_prob=True, mlp_only_layers=[0], tie_word_embeddings=False,
    ),
    'olmoe': COMMON | rope(1e4) | dict(
        model_type='olmoe', num_experts=8, num_experts_per_tok=2, intermediate_size=24, clip_qkv=0.8,
        norm_topk_prob=False, num_hidden_layers=2, tie_word_embeddings=False,
    ),
    'gemma2': COMMON | rope(1e4) | dict(
        model_type='gemma2', head_dim=16, query_pre_attn_scalar=24, sliding_window=6, attn_logit_softcapping=4.0,
        final_logit_softcapping=8.0, num_hidden_layers=4, tie_word_embeddings=True,
    ),
    'gemma3': COMMON | dict(
        model_type='gemma3_text', head_dim=16, query_pre_attn_scalar=24, sliding_window=6, num_hidden_layers=4,
        sliding_window_pattern=3, tie_word_embeddings=True,
        rope_parameters={
            'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e4},
            'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': 1e6},
        },
    ),
    'deepseek_v2': COMMON | MLA | rope(1e4, 'yarn', **YARN, mscale=0.9, mscale_all_dim=0.7) | dict(
        model_type='deepseek_v2', q_lora_rank=None, n_shared_experts=2, topk_method='group_limited_greedy',
        norm_topk_prob=False, tie_word_embeddings=False,
    ),
    'deepseek_v3': COMMON | MLA | rope(1e4, 'yarn', **YARN, mscale=1.0, mscale_all_dim=1.0) | dict(
        model_type='deepseek_v3', q_lora_rank=24, n_shared_experts=1, norm_topk_prob=True, num_mtp_layers=0,
        tie_word_embeddings=False,
    ),
    'gpt_oss': COMMON | rope(1.5e5, 'yarn', **YARN, truncate=False) | dict(
        model_type='gpt_oss', head_dim=16, sliding_window=6, num_local_experts=4, num_experts_per_tok=2,
        intermediate_size=24, swiglu_limit=1.5, tie_word_embeddings=False,
    ),
}
# Of these the layout with one tensor for all experts is committed too (what save_original_format=False writes).
FUSED = ('mixtral', 'qwen2_moe', 'qwen3_moe', 'olmoe')

PLAIN = rope(1e4)
EPSILON = dict(rms_norm_eps=1e-6)
# Settings without which the logits of the same weights must be others: a reader who forgets one cannot pass by luck.
MATTERS = {
    'qwen2-untied': [PLAIN],
    'qwen2-window': [EPSILON, dict(use_sliding_window=False), dict(layer_types=['sliding_attention'] * 3)],
    'llama3': [EPSILON, rope(500.0), rope(1e4)],
    'mistral': [EPSILON, dict(sliding_window=None), dict(sliding_window=7)],
    'mixtral': [EPSILON, PLAIN, dict(num_experts_per_tok=1), dict(num_experts_per_tok=3)],
    'qwen2_moe': [EPSILON, dict(norm_topk_prob=True), dict(num_experts_per_tok=1)],
    'qwen2_moe-norm': [EPSILON, dict(norm_topk_prob=False), dict(num_experts_per_tok=1)],
    'qwen3': [EPSILON, PLAIN],
    'qwen3_moe': [EPSILON, PLAIN, dict(norm_topk_prob=False)],
    'olmoe': [EPSILON, dict(clip_qkv=None), dict(clip_qkv=1.0), dict(norm_topk_prob=True)],
    'gemma2': [
        EPSILON, dict(attn_logit_softcapping=None), dict(final_logit_softcapping=None), dict(query_pre_attn_scalar=16),
        dict(sliding_window=7), dict(layer_types=['full_attention'] * 4), dict(hidden_activation='silu'),
        dict(hidden_activation='gelu'),
    ],
    'gemma3': [
        EPSILON, dict(query_pre_attn_scalar=16), dict(sliding_window=7), dict(layer_types=['sliding_attention'] * 4),
        {'rope_parameters': {'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e4},
                             'full_attention': {'rope_type': 'default', 'rope_theta': 1e6}}},
        {'rope_parameters': {'sliding_attention': {'rope_type': 'default', 'rope_theta': 1e6},
                             'full_attention': {'rope_type': 'linear', 'factor': 8.0, 'rope_theta': 1e6}}},
    ],
    'deepseek_v2': [
        EPSILON, PLAIN, rope(1e4, 'yarn', **YARN, mscale=0.7, mscale_all_dim=0.7), dict(topk_method='greedy'),
        rope(1e4, 'yarn', **YARN, mscale=0.9), dict(routed_scaling_factor=1.0),
    ],
    'deepseek_v3': [
        EPSILON, PLAIN, rope(1e4, 'yarn', **YARN), dict(topk_group=4), dict(routed_scaling_factor=1.0),
        dict(norm_topk_prob=False), dict(rope_interleave=False),
    ],
    'gpt_oss': [
        EPSILON, PLAIN, rope(1.5e5, 'yarn', **YARN), dict(sliding_window=7), dict(layer_types=['full_attention'] * 3),
        dict(swiglu_limit=7.0), dict(swiglu_alpha=1.0),
    ],
}


def legacy(config):
    """The same settings as transformers 4 wrote them: rope_theta and rope_scaling, no layer_types, torch_dtype."""
    out = copy.deepcopy(config)
    parameters = out.pop('rope_parameters')
    out['torch_dtype'] = out.pop('dtype')
    out['transformers_version'] = '4.44.2'
    layer_types = out.pop('layer_types', None)
    if out['model_type'] == 'gemma3_text':
        out['rope_local_base_freq'] = parameters['sliding_attention']['rope_theta']
        out['sliding_window_pattern'] = layer_types.index('full_attention') + 1
        parameters = parameters['full_attention']
        out.pop('_sliding_window_pattern', None)
    out['rope_theta'] = parameters.pop('rope_theta')
    kind = parameters.pop('rope_type')
    out['rope_scaling'] = None if kind == 'default' else {**parameters, 'rope_type': kind}
    if out['model_type'] == 'qwen3_moe':
        out['num_experts'] = out.pop('num_local_experts')
    if out['model_type'].startswith('deepseek'):
        # The published files say neither width (head_dim would be the rotary one) and name the router.
        del out['head_dim'], out['qk_head_dim']
        out['rope_scaling']['type'] = out['rope_scaling'].pop('rope_type')
        v3 = out['model_type'] == 'deepseek_v3'
        out.update(scoring_func='sigmoid', topk_method='noaux_tc') if v3 else out.update(scoring_func='softmax')
    return dict(sorted(out.items()))
