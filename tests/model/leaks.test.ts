// Training keeps nothing from step to step: as many tensors and bytes after step 10 as after step 2.
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { memoryOfTraining } from './training-run.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const everything = { balance_coefficient: 0.01, z_coefficient: 0.001, bias_rate: 0.01 };

test.each([
  ['plain', {}],
  ['every loss, a shared expert, capacity', { router: everything, model: { shared_expert: true, capacity_factor: 1 } }],
  [
    'pooled balance, checkpointing',
    { router: { ...everything, balance_scope: 'pooled' }, train: { gradient_checkpointing: true } },
  ],
  ['two micro-batches', { train: { accumulation: 2 } }],
] as [string, Parameters<typeof memoryOfTraining>[1]][])('%s', async (_, settings) => {
  const { memory } = await memoryOfTraining(10, settings);
  expect(memory.slice(2)).toEqual(Array(8).fill(memory[1]));
});
