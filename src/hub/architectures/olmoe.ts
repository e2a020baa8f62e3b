// OLMoE (arXiv 2409.02060): experts in every layer, RMSNorm over the whole projections of queries and keys, and q, k and v
// limited to ± clip_qkv where the file has it.
import { type Architecture, decoderSpec, expertsOf, expertsPerToken } from './decoder.ts';
import { booleanOf, countOf, numberOf } from './settings.ts';

export const olmoe: Architecture = {
  modelType: 'olmoe',
  spec(config) {
    const numExperts = expertsOf(config);
    const experts = {
      layers: Array.from({ length: countOf(config, 'num_hidden_layers') }, () => 'moe' as const),
      numExperts,
      num_experts_per_tok: expertsPerToken(config, numExperts),
      norm_topk_prob: booleanOf(config, 'norm_topk_prob', false),
      shared_expert: false,
    };
    const bias = booleanOf(config, 'attention_bias', false);
    const clip_qkv = (config.json.clip_qkv ?? null) === null ? null : numberOf(config, 'clip_qkv');
    return decoderSpec(config, { qkv_bias: bias, o_bias: bias, qk_norm: 'width', clip_qkv }, experts, {
      rms_norm_eps: 1e-5,
    });
  },
};
