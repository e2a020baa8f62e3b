// Parameters and operations of the measured models, counted by hand; and how times become a summary.
import { expect, test } from 'vitest';
import { layerTensors } from '../../src/bench/layer.ts';
import { batchOf } from '../../src/bench/random.ts';
import {
  benchSpec,
  benchTensors,
  INFERENCE,
  layerShape,
  parameterCount,
  sizeOf,
  TRAINING,
} from '../../src/bench/shapes.ts';
import { summary, timed } from '../../src/bench/timing.ts';
import { FORWARD, layerOperations, modelOperations, productOperations, TRAINING_STEP } from '../../src/bench/work.ts';

const { dense, 'post-moe': postMoe, 'post-moe-64': postMoe64 } = TRAINING;

// D 256, V 8192. A layer: attention 4 · 256² + 3 · 256 = 262,912; two norms 512; SwiGLU 3 · 256 · 1024 = 786,432.
// Experts: 3 · 256 · 512 = 393,216 each, and a router of 256 per expert. Outside of layers: 2 · 8192 · 256 + 256.
test('parameters', () => {
  expect(parameterCount(dense)).toBe(6 * (262_912 + 512 + 786_432) + 4_194_304 + 256);
  expect(parameterCount(dense)).toBe(10_493_696);
  expect(parameterCount(postMoe)).toBe(10_493_696 - 2 * 786_432 + 2 * 7 * (393_216 + 256));
  expect(parameterCount(postMoe64)).toBe(10_493_696 - 2 * 786_432 + 2 * 64 * (393_216 + 256));
  expect(parameterCount(INFERENCE['qwen2-0.5b'])).toBe(494_032_768); // as published for Qwen2-0.5B
  const layer = layerTensors(layerShape(4096)).map(({ shape }) => sizeOf(shape));
  expect(layer.reduce((a, b) => a + b)).toBe(8 * (3 * 256 * 1024 + 256));
});

test('the last two of six layers are mixtures, whose two experts are as wide as one dense network', () => {
  expect(benchSpec(postMoe).layers).toEqual(['dense', 'dense', 'dense', 'dense', 'moe', 'moe']);
  const shapeOf = new Map(benchTensors(postMoe).map(({ name, shape }) => [name, shape]));
  expect(shapeOf.get('model.layers.3.mlp.gate_proj.weight')).toEqual([1024, 256]);
  expect(shapeOf.get('model.layers.4.mlp.experts.6.gate_proj.weight')).toEqual([512, 256]);
  expect(shapeOf.get('model.layers.5.mlp.experts.0.down_proj.weight')).toEqual([256, 512]);
  expect(shapeOf.get('model.layers.5.mlp.gate.weight')).toEqual([7, 256]);
});

// A step is three passes of two operations per weight and token (embedding rows, norms and biases not), and attention's
// scores and mixing: 8 sequences of 128 · 129 / 2 pairs, 256 channels, 6 layers, twice.
test('operations', () => {
  const attention = 3 * 2 * 2 * (8 * 8256) * 256 * 6;
  expect(modelOperations(dense, TRAINING_STEP)).toBe(6 * 1024 * (6 * (262_144 + 786_432) + 2_097_152) + attention);
  expect(modelOperations(dense, TRAINING_STEP)).toBe(52_757_004_288);
  expect(modelOperations(dense, FORWARD)).toBe(52_757_004_288 / 3);
  const router = 6 * 1024 * 2 * 256;
  expect(modelOperations(postMoe, TRAINING_STEP)).toBe(52_757_004_288 + 7 * router);
  expect(modelOperations(postMoe64, TRAINING_STEP)).toBe(52_757_004_288 + 64 * router);
  expect(layerOperations(layerShape(4096))).toBe(6 * 4096 * (2 * 786_432 + 8 * 256));
  expect(productOperations(1024)).toBe(2_147_483_648);
  // Two key heads of fourteen: keys and values are 896 · 128 each.
  const layer = 2 * 896 * 896 + 2 * 896 * 128 + 3 * 896 * 4864;
  const pass = 2 * 128 * (layer + 896 * 151_936) + 2 * 2 * 8256 * 896;
  expect(modelOperations({ ...INFERENCE['qwen2-0.5b'], layers: 1 }, FORWARD)).toBe(pass);
});

test('each row reads all but its last id and predicts all but its first', () => {
  const shape = { ...TRAINING.tiny, batch: 2, sequence: 3 };
  const { inputId_BS, label_BS, position_BS, segment_BS } = batchOf(shape, Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  expect([...inputId_BS]).toEqual([1, 2, 3, 5, 6, 7]);
  expect([...label_BS]).toEqual([2, 3, 4, 6, 7, 8]);
  expect([...position_BS]).toEqual([0, 1, 2, 0, 1, 2]);
  expect([...segment_BS]).toEqual([0, 0, 0, 1, 1, 1]);
});

test('warm-up and preparation are not counted; rates are of the median', async () => {
  let now = 0;
  let prepared = 0;
  const durations = [900, 700, 10, 40, 20, 30];
  const work = (): void => {
    now += durations.shift()!;
  };
  const before = (): void => {
    now += 5000;
    prepared++;
  };
  const ms = await timed(work, { repeats: 4, warmup: 2, clock: () => now }, before);
  expect(ms).toEqual([10, 40, 20, 30]);
  expect(prepared).toBe(6);
  const rates = { gflop: 5, gflopPerSecond: 200 };
  expect(summary('x', ms, 5e9)).toEqual({ name: 'x', ms, median: 25, min: 10, max: 40, ...rates });
  expect(summary('x', ms, 5e9, 100).tokensPerSecond).toBe(4000);
});
