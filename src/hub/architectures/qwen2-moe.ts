// Qwen1.5-MoE and Qwen2-MoE: Qwen2 with experts of a width of their own, and beside them a shared one behind a sigmoid.
// A shared width of 0 is a shared expert that adds nothing.
import { type Architecture, decoderSpec, expertsOf, expertsPerToken, sparseLayers } from './decoder.ts';
import { booleanOf, numberOf, sizeOf } from './settings.ts';
import { maxWindowLayers, windowsOf } from './window.ts';

export const qwen2Moe: Architecture = {
  modelType: 'qwen2_moe',
  spec(config) {
    const numExperts = expertsOf(config);
    const hasShared = numberOf(config, 'shared_expert_intermediate_size', 5632) !== 0;
    const experts = {
      layers: sparseLayers(config),
      numExperts,
      num_experts_per_tok: expertsPerToken(config, numExperts),
      norm_topk_prob: booleanOf(config, 'norm_topk_prob', false),
      shared_expert: hasShared,
    };
    const below = maxWindowLayers(config);
    const decoder = {
      qkv_bias: booleanOf(config, 'qkv_bias', true),
      window_L: windowsOf(config, layer => layer % 2 === 0 && layer < below),
      moe_intermediate_size: sizeOf(config, 'moe_intermediate_size', 1408),
      shared_expert_intermediate_size: hasShared ? sizeOf(config, 'shared_expert_intermediate_size', 5632) : 0,
    };
    return decoderSpec(config, decoder, experts);
  },
  unread: ({ shared_expert }) => (shared_expert ? null : /\.mlp\.shared_expert(_gate)?\./),
};
