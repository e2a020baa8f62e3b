// Qwen3: each head of queries and keys is normed before it turns; heads are 128 wide unless the file says else; no biases
// unless attention_bias gives all four projections one.
import { type Architecture, decoderSpec } from './decoder.ts';
import { booleanOf, sizeOf } from './settings.ts';
import { maxWindowLayers, windowsOf } from './window.ts';

export const qwen3: Architecture = {
  modelType: 'qwen3',
  spec(config) {
    const bias = booleanOf(config, 'attention_bias', false);
    const first = maxWindowLayers(config);
    return decoderSpec(config, {
      head_dim: sizeOf(config, 'head_dim', 128),
      qkv_bias: bias,
      o_bias: bias,
      qk_norm: 'head',
      window_L: windowsOf(config, layer => layer >= first),
    });
  },
};
