// A step that fails on the GPU: the run before it is saved, with its data where they stood, and one sentence says how to go on.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bytesTokenizer } from '../../src/data/tokenizer/bytes.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { GpuFailure } from '../../src/engine/webgpu/failure.ts';
import { UserError } from '../../src/errors.ts';
import { listCheckpoints, loadCheckpoint } from '../../src/train/checkpoint.ts';
import { createOptimizer, optimizerSettings } from '../../src/train/optimizer.ts';
import type { Prepared } from '../../src/train/prepare.ts';
import { rescue } from '../../src/train/rescue.ts';
import { createStreams } from '../../src/train/rng.ts';
import { disposeState, type RunState } from '../../src/train/state.ts';
import { createWatch } from '../../src/train/watch.ts';
import { EOS, toyConfig, toyMap, toyModel } from '../model/toy.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-rescue-'));
afterAll(() => rmSync(folder, { recursive: true }));
const config = toyConfig({});

async function failAt(step: number, runDir: string, error: unknown) {
  await selectBackend('cpu');
  const model = toyModel({});
  const state = {
    phase: 'sparse',
    step,
    tokens: 7,
    model,
    optimizer: createOptimizer(model.weights, optimizerSettings(config)),
    stream: { state: () => ({ at: 'after the step' }) },
    watch: createWatch(),
    rng: createStreams(1),
  } as unknown as RunState;
  const prepared = { tokenizer: { ...bytesTokenizer(), eosId: EOS } } as unknown as Prepared;
  const cursor = { at: 'before the step' } as never;
  const thrown = await rescue(error, state, { runDir, config, map: toyMap, prepared, cursor }).catch(e => e);
  disposeState(state);
  return thrown as Error;
}
const saved = (runDir: string) => listCheckpoints(runDir).map(({ step }) => step);

test('out of memory: saved as before the step, once', async () => {
  const runDir = join(folder, 'memory');
  const full = new GpuFailure('The GPU has run out of memory: lower train.batch_size.', false);
  const thrown = await failAt(4, runDir, full);
  expect(thrown).toBeInstanceOf(UserError);
  expect(thrown.message).toBe(
    `The GPU has run out of memory: lower train.batch_size; step 4 is saved, go on with 'moe train --resume ${runDir}'.`,
  );
  expect(saved(runDir)).toEqual([4]);
  const { run } = loadCheckpoint(listCheckpoints(runDir)[0].directory).trainerState as { run: { cursor: unknown } };
  expect(run.cursor).toEqual({ at: 'before the step' });
  expect((await failAt(4, runDir, full)).message).toContain('step 4 is saved');
  expect(saved(runDir)).toEqual([4]);
});

test('a lost GPU has nothing to be saved: the last checkpoint is named', async () => {
  const runDir = join(folder, 'lost');
  const lost = new GpuFailure('The GPU was lost (unplugged); start again, or use another backend.', true);
  expect((await failAt(2, runDir, lost)).message).toBe(
    'The GPU was lost (unplugged); start again, or use another backend; nothing was saved yet.',
  );
  await failAt(1, runDir, new GpuFailure('full.', false));
  expect((await failAt(2, runDir, lost)).message).toContain("step 1 is saved, go on with 'moe train --resume");
  expect(saved(runDir)).toEqual([1]);
});

test('every other error passes as it is', async () => {
  const error = new TypeError('something else');
  expect(await failAt(1, join(folder, 'other'), error)).toBe(error);
  expect(saved(join(folder, 'other'))).toEqual([]);
});
