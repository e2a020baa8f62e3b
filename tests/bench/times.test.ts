// The measured work is the real work: its losses and values are those of PyTorch on the same weights and tokens.
// The numbers are torch 2.13's: `moe bench train --model tiny --steps 5 --warmup 0 --save FILE`, then
// `python bench/torch_baseline.py train --model tiny --steps 5 --warmup 0 --load FILE --json`; moe and infer likewise.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { timeProducts } from '../../src/bench/gemm.ts';
import { timeInference } from '../../src/bench/infer.ts';
import { timeLayer } from '../../src/bench/layer.ts';
import { type SavedTensor, saveTensors } from '../../src/bench/saved.ts';
import { benchTensors, INFERENCE, layerShape, TRAINING } from '../../src/bench/shapes.ts';
import { timeTraining } from '../../src/bench/train.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { openCheckpoint, readFloat32, readInt32 } from '../../src/hub/read-safetensors.ts';

const once = { repeats: 1, warmup: 0, clock: () => 0 };
const { tiny } = TRAINING;

beforeEach(() => selectBackend('cpu').then(() => undefined));

test('a training step: losses of PyTorch, warm-up among them, from saved weights and tokens', async () => {
  let saved: SavedTensor[] = [];
  const keep = async (tensors: SavedTensor[]): Promise<void> => {
    saved = tensors.map(tensor => ({ ...tensor, values: tensor.values.slice() }));
  };
  const { values, timing } = await timeTraining('step', tiny, 0, { ...once, repeats: 3, warmup: 2 }, keep);
  const torch = [3.9071640968322754, 3.9182703495025635, 3.9347031116485596, 3.887989044189453, 3.903137445449829];
  expect(values).toHaveLength(5);
  values.forEach((loss, i) => {
    expect(Math.abs(loss - torch[i]), `loss of step ${i + 1}`).toBeLessThan(1e-5);
  });
  expect(timing.ms).toEqual([0, 0, 0]);
  expect(saved.map(({ name, shape }) => ({ name, shape }))).toEqual([
    ...benchTensors(tiny).map(({ name, shape }) => ({ name, shape })),
    { name: 'token_ids', shape: [5, 2, 17] },
  ]);
});

test('another seed is another run', async () => {
  const first = async (seed: number): Promise<number> => (await timeTraining('step', tiny, seed, once)).values[0];
  const [one, again, other] = [await first(1), await first(1), await first(2)];
  expect(again).toBe(one);
  expect(other).not.toBe(one);
});

test('a MoE layer: output and gradients of PyTorch', async () => {
  await selectBackend('wasm'); // cpu takes seconds for it
  const { values } = await timeLayer(layerShape(8), 0, once);
  const torch = [0.000557131425011903, 0.0011184742907062173, 0.055148400366306305];
  values.forEach((value, i) => {
    expect(Math.abs(value / torch[i] - 1), `value ${i}`).toBeLessThan(1e-5);
  });
  expect(values).toHaveLength(3);
});

test('weights in bf16 are those in fp32, rounded', async () => {
  const [fp32, bf16] = await Promise.all(
    (['fp32', 'bf16'] as const).map(type => timeInference('pass', INFERENCE.tiny, 0, once, type)),
  );
  expect(bf16.values[0]).not.toBe(fp32.values[0]);
  expect(Math.abs(bf16.values[0] / fp32.values[0] - 1)).toBeLessThan(2 ** -6); // bf16 rounds by 2⁻⁹ at most, each
});

test('a forward pass: the logits of PyTorch', async () => {
  const { values } = await timeInference('pass', INFERENCE.tiny, 0, once);
  expect(values).toHaveLength(1);
  expect(Math.abs(values[0] / 0.02016645483672619 - 1)).toBeLessThan(1e-5);
});

test('matrix products: one row for each transposes', async () => {
  const timings = await timeProducts(3, 0, { ...once, repeats: 2 });
  expect(timings.map(({ name, gflop }) => [name, gflop])).toEqual(['NN', 'NT', 'TN', 'TT'].map(t => [`3 ${t}`, 54e-9]));
});

test('what is saved can be read back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'moe-bench-'));
  const path = join(folder, 'same.safetensors');
  const weight = { name: 'w', shape: [2, 1], values: Float32Array.of(0.5, -2) };
  await saveTensors(path, [weight, { name: 'token_ids', shape: [3], values: Int32Array.of(7, 0, 9) }]);
  const { tensors } = openCheckpoint(path);
  expect([...readFloat32(tensors.get('w')!)]).toEqual([0.5, -2]);
  expect([...readInt32(tensors.get('token_ids')!)]).toEqual([7, 0, 9]);
  expect(tensors.get('token_ids')!.shape).toEqual([3]);
  rmSync(folder, { recursive: true });
});
