// Llama 1 to 3.x: the plain decoder; attention_bias gives all four projections a bias, and Llama 3.1 stretches its rotations.
import { type Architecture, decoderSpec } from './decoder.ts';
import { booleanOf, mustBeOneOf } from './settings.ts';

export const llama: Architecture = {
  modelType: 'llama',
  spec(config) {
    mustBeOneOf(config, 'mlp_bias', [false]);
    const bias = booleanOf(config, 'attention_bias', false);
    return decoderSpec(config, { qkv_bias: bias, o_bias: bias });
  },
};
