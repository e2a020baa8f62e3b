// Qwen3-MoE: Qwen3's attention and experts of a width of their own, none shared. A window holds for all layers.
import { type Architecture, decoderSpec, expertsOf, expertsPerToken, sparseLayers } from './decoder.ts';
import { booleanOf, sizeOf } from './settings.ts';
import { windowsOf } from './window.ts';

export const qwen3Moe: Architecture = {
  modelType: 'qwen3_moe',
  spec(config) {
    const numExperts = expertsOf(config);
    const experts = {
      layers: sparseLayers(config),
      numExperts,
      num_experts_per_tok: expertsPerToken(config, numExperts),
      norm_topk_prob: booleanOf(config, 'norm_topk_prob', false),
      shared_expert: false,
    };
    const bias = booleanOf(config, 'attention_bias', false);
    const decoder = {
      qkv_bias: bias,
      o_bias: bias,
      qk_norm: 'head' as const,
      window_L: windowsOf(config, () => true),
      moe_intermediate_size: sizeOf(config, 'moe_intermediate_size', 768),
    };
    return decoderSpec(config, decoder, experts);
  },
};
