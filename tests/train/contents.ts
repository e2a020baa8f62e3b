// A small checkpoint whose every number follows from its step, for the checkpoint tests and the process they kill.
import type { CheckpointContents } from '../../src/train/checkpoint.ts';
import { createRng, createStreams, streamStates } from '../../src/train/rng.ts';

/** @param size values per tensor */
export function contentsOf(step: number, size = 12): CheckpointContents {
  const rng = createRng(`contents ${step}`);
  const values = (): Float32Array => Float32Array.from({ length: size }, () => rng.gaussian());
  return {
    config: { model_type: 'qwen2_moe', hidden_size: size },
    weights: [
      ['model.norm.weight', [size], values()],
      ['lm_head.weight', [2, size / 2], values()],
    ],
    optimizer: [
      ['model.norm.weight.exp_avg', [size], values()],
      ['model.norm.weight.step', [1], Float32Array.of(step)],
    ],
    trainerState: {
      phase: 'sparse',
      seed: 7,
      rng: streamStates(createStreams(step)),
      cursor: { position: step * 3 },
      tokensSeen: step * 1024,
      runConfig: { name: 'a', train: { learning_rate: 0.001 } },
      more: { losses: [0.1 + 0.2, -0, 1e-300] },
    },
    tokenizerJson: `{"version":"1.0","ελληνικά":${step}}`,
  };
}
