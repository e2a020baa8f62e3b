// A small checkpoint whose every number follows from its step, for the checkpoint tests and the process they kill.
import type { CheckpointContents } from '../../src/train/checkpoint.ts';
import { createRng } from '../../src/train/rng.ts';

/** @param size values per tensor */
export function contentsOf(step: number, size = 12): CheckpointContents {
  const rng = createRng(`contents ${step}`);
  const values = (): Float32Array => Float32Array.from({ length: size }, () => rng.gaussian());
  return {
    config: { model_type: 'qwen2_moe', hidden_size: size },
    weights: [
      ['model.norm.weight', { shape: [size], values: values() }],
      ['lm_head.weight', { shape: [2, size / 2], values: values() }],
    ],
    optimizer: [
      ['model.norm.weight.exp_avg', { shape: [size], values: values() }],
      ['model.norm.weight.step', { shape: [1], values: Float32Array.of(step) }],
    ],
    trainerState: {
      seed: 7,
      config: { name: 'a', train: { learning_rate: 0.001 } },
      run: { phase: 'sparse', cursor: { position: step * 3 }, rng: rng.state(), losses: [0.1 + 0.2, -0, 1e-300] },
    },
    tokenizerJson: `{"version":"1.0","ελληνικά":${step}}`,
  };
}
