// Mixtral (arXiv 2401.04088): Mistral with experts in every layer; the k gates are normalised. Its files call the router
// block_sparse_moe.gate and an expert's gate, down and up projections w1, w2 and w3.
import { type Architecture, decoderSpec, expertsOf, expertsPerToken } from './decoder.ts';
import { countOf } from './settings.ts';
import { windowOfAll } from './window.ts';

const PROJECTIONS: Record<string, string> = { gate_proj: 'w1', down_proj: 'w2', up_proj: 'w3' };

export const mixtral: Architecture = {
  modelType: 'mixtral',
  spec(config) {
    const numExperts = expertsOf(config);
    const experts = {
      layers: Array.from({ length: countOf(config, 'num_hidden_layers') }, () => 'moe' as const),
      numExperts,
      num_experts_per_tok: expertsPerToken(config, numExperts),
      norm_topk_prob: true,
      shared_expert: false,
    };
    const usual = { rms_norm_eps: 1e-5, rope_theta: 1e6 };
    return decoderSpec(config, { window_L: windowOfAll(config, null) }, experts, usual);
  },
  alias(name) {
    const renamed = name.replace('.mlp.', '.block_sparse_moe.');
    return renamed.replace(/(\.experts\.\d+)\.(gate_proj|down_proj|up_proj)/, (_, at, projection) => {
      return `${at}.${PROJECTIONS[projection]}`;
    });
  },
};
