// The published Apollo-MoE (arXiv 2410.10626; model_type upcycling-qwen2-moe): Qwen2 whose last layers hold full-size experts
// by language family. share_flag adds a shared one. language_gate is hybrid-k, which forces the language's expert in training
// only. Which layers are sparse says mlp_only_layers. lm_head is stored although it is tied.

import { configSchema } from '../../config/schema.ts';
import { type Architecture, decoderSpec, expertsOf, expertsPerToken, sparseLayers } from './decoder.ts';
import { booleanOf } from './settings.ts';
import { maxWindowLayers, windowsOf } from './window.ts';

export const apollo: Architecture = {
  modelType: 'upcycling-qwen2-moe',
  spec(config) {
    const numExperts = expertsOf(config);
    const hybrid = booleanOf(config, 'language_gate', false);
    const experts = {
      layers: sparseLayers(config),
      numExperts,
      num_experts_per_tok: expertsPerToken(config, numExperts),
      norm_topk_prob: booleanOf(config, 'norm_topk_prob', false),
      shared_expert: booleanOf(config, 'share_flag', false),
      ...(hybrid ? { router: configSchema.shape.router.parse({}) } : {}),
    };
    const first = maxWindowLayers(config);
    // The reference code sets the widths of experts to intermediate_size whatever the file says.
    return decoderSpec(config, { qkv_bias: true, window_L: windowsOf(config, layer => layer >= first) }, experts);
  },
};
