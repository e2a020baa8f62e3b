// Kill -9 while saving, again and again: what is visible is always whole, and what was reported saved is still there.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { latestCheckpoint, listCheckpoints, loadCheckpoint } from '../../src/train/checkpoint.ts';
import { createRng } from '../../src/train/rng.ts';
import { contentsOf } from './contents.ts';

let run = '';
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'moe-killed-'));
});
afterEach(() => rmSync(run, { recursive: true }));

const child = fileURLToPath(new URL('saving-child.ts', import.meta.url));

/** Runs the child until `delay` ms after its second save; answers the last step that it reported. */
function saveUntilKilled(first: number, delay: number): Promise<number> {
  const saving = spawn(process.execPath, ['--import', 'tsx', child, run, String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let armed = false;
  saving.stdout.on('data', data => {
    text += data;
    if (armed || text.split('\n').length < 3) return;
    armed = true;
    setTimeout(() => saving.kill('SIGKILL'), delay);
  });
  return new Promise((resolve, reject) => {
    saving.on('error', reject);
    saving.on('close', () => resolve(Number(text.split('\n').slice(0, -1).at(-1))));
  });
}

it('thirty kills at random moments', async () => {
  const rng = createRng('kills');
  let interrupted = 0;
  let first = 2;
  for (let kill = 0; kill < 30; kill++) {
    const reported = await saveUntilKilled(first, rng.uniform() * 60);
    const whole = listCheckpoints(run);
    for (const { directory, step } of whole) {
      const loaded = loadCheckpoint(directory);
      const wanted = [...contentsOf(step, 40_000).weights].toSorted(([a], [b]) => (a < b ? -1 : 1));
      expect([...loaded.weights()]).toEqual(wanted);
    }
    const latest = latestCheckpoint(run)!;
    // A replacement killed between its two renames hides that step until the next save: the one before must be there.
    expect(latest.step).toBeGreaterThanOrEqual(reported - 2);
    expect(latest.skipped).toEqual([]);
    if (readdirSync(join(run, 'checkpoints')).some(name => name.startsWith('.'))) interrupted++;
    first = latest.step + 2;
  }
  expect(interrupted, 'kills that hit a save in the middle').toBeGreaterThan(5);
});
