// Mistral: Llama with one window for all layers, 4096 where the file does not say (later releases say null).
import { type Architecture, decoderSpec } from './decoder.ts';
import { windowOfAll } from './window.ts';

export const mistral: Architecture = {
  modelType: 'mistral',
  spec: config => decoderSpec(config, { window_L: windowOfAll(config, 4096) }),
};
