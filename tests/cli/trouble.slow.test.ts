// What happens to a run from outside and inside: Ctrl-C, SIGTERM, a reader that goes away, a full disk, a loss that explodes.
// Every time the run stays on disk, whole, and one sentence says how to go on.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { latestCheckpoint } from '../../src/train/checkpoint.ts';
import { readMetrics } from '../../src/train/metrics.ts';
import { type Ended, moe, refusal, startMoe, tinyWorld } from './world.ts';

const world = tinyWorld();
afterAll(world.remove);

/** Arguments of a run that is never done in time, looks at itself only once, and saves when it must. */
const long = (out: string, ...more: string[]): string[] => {
  const quiet = ['evaluate_every', 'record_every', 'save_every'].flatMap(key => ['--set', `train.${key}=0`]);
  return ['train', '--families', world.config, '--out', out, '--steps', '1000000', ...quiet, ...more];
};
const lastSave = (run: string): number => latestCheckpoint(join(world.folder, run))!.step;
const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1)!;

async function interrupt(args: string[], signal: NodeJS.Signals): Promise<Ended> {
  const { child, ended, said } = startMoe(world.folder, args);
  await said('/1000000');
  child.kill(signal);
  return await ended;
}

describe('asked to stop', () => {
  beforeAll(async () => {
    const { code, err } = await interrupt(long('run'), 'SIGINT');
    expect(code, err).toBe(130);
    expect(err).toContain('\nStopping after this step, then saving (once more to stop at once).\n');
    expect(lastLine(err)).toBe(
      `moe: stopped at step ${lastSave('run')} and saved; go on with 'moe train --resume run'.`,
    );
  });

  test('the resume goes on from that step; SIGTERM stops it the same way', async () => {
    const first = lastSave('run');
    expect(first).toBeGreaterThan(0);
    const { code, err, out } = await interrupt(['train', '--resume', 'run'], 'SIGTERM');
    expect([code, lastLine(err)]).toEqual([
      130,
      `moe: stopped at step ${lastSave('run')} and saved; go on with 'moe train --resume run'.`,
    ]);
    expect(out).toContain(`resumed at step ${first}\n`);
    expect(lastSave('run')).toBeGreaterThan(first);
    const steps = readMetrics(join(world.folder, 'run/metrics.jsonl')).filter(({ kind }) => kind === 'train');
    expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i + 1));
    expect(steps).toHaveLength(lastSave('run'));
  });

  test('twice: it stops at once, in the middle of a step, and the last checkpoint is whole', async () => {
    const { child, ended, said } = startMoe(world.folder, long('slow', '--set', 'train.accumulation=1000000'));
    await said('step 0: held-out loss');
    child.kill('SIGINT');
    await said('Stopping after this step');
    child.kill('SIGINT');
    const { code, err } = await ended;
    expect([code, lastSave('slow')]).toEqual([130, 0]);
    expect(err).not.toContain('saved;');
  });
});

test('a reader that goes away does not stop the run', () => {
  const program = fileURLToPath(new URL('../../bin/moe.mjs', import.meta.url));
  const pipe = 'set -o pipefail; node "$0" "$@" 2>&1 | true';
  const args = ['-c', pipe, program, 'train', '--families', world.config, '--out', 'unread'];
  execFileSync('bash', args, { cwd: world.folder });
  expect(lastSave('unread')).toBe(4);
});

describe('a full disk', () => {
  const fullDisk = new URL('full-disk.mjs', import.meta.url);
  test('while saving: the sentence names it, the checkpoints before stay whole, a resume goes on', async () => {
    const args = ['train', '--families', world.config, '--out', 'full', '--steps', '8', '--set', 'train.save_every=1'];
    const said = refusal(await startMoe(world.folder, args, fullDisk).ended);
    expect(said).toMatch(
      /^moe: the disk that holds full\/checkpoints\/step-0+(\d) is full: nothing there was changed; free space and go on with 'moe train --resume full'\.$/,
    );
    const failed = Number(/step-0+(\d)/.exec(said)![1]);
    expect(failed).toBeGreaterThan(0);
    expect(lastSave('full')).toBe(failed - 1);
    expect((await moe(world.folder, 'train', '--resume', 'full')).code).toBe(0);
    expect(lastSave('full')).toBe(8);
  });
  test('while a line of metrics is written', async () => {
    const said = refusal(await startMoe(world.folder, long('lines'), fullDisk).ended);
    expect(said).toBe(
      'moe: cannot write (ENOSPC): the disk is full; free space, then run the command again, or go on with moe train --resume.',
    );
    expect(lastSave('lines')).toBe(0);
  });
});

test.each([
  [
    'a loss that is not a number',
    1e12,
    /^moe: The loss is NaN at step \d+ \(learning rate .*\): lower the learning rate/,
  ],
  ['a gradient that is not finite', 1e6, /^moe: The gradient is not finite at step \d+ .* first in model\..*: lower/],
  [
    'a loss far worse than guessing',
    30,
    /^moe: The loss is exploding: .* at step 1?\d \(.* in a row: lower the learning rate/,
  ],
])('%s stops the run in one sentence, after the last checkpoint', async (_, rate, sentence) => {
  const out = `rate-${rate}`;
  const said = refusal(
    await moe(world.folder, ...long(out, '--set', `train.dense_learning_rate=${rate}`, '--set', 'train.warmup=0')),
  );
  expect(said).toMatch(sentence);
  expect(said).toContain(`in a new run; the run's last checkpoint is ${out}/checkpoints/step-000000.`);
  expect(lastSave(out)).toBe(0);
});
