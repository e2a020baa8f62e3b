// Qwen2 and Qwen2.5: biases of queries, keys and values; windows from layer max_window_layers up, if used at all.
import { type Architecture, decoderSpec } from './decoder.ts';
import { mustBeOneOf } from './settings.ts';
import { maxWindowLayers, windowsOf } from './window.ts';

export const qwen2: Architecture = {
  modelType: 'qwen2',
  spec(config) {
    mustBeOneOf(config, 'use_mrope', [false]);
    const first = maxWindowLayers(config);
    return decoderSpec(config, { qkv_bias: true, window_L: windowsOf(config, layer => layer >= first) });
  },
};
