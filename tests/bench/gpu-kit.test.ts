// bench/gpu: the table of a run by hand, and one sentence for wrong words. What it runs is tested where it stands.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
// @ts-expect-error a plain script
import { tableOf } from '../../bench/gpu/table.mjs';

const RUN = fileURLToPath(new URL('../../bench/gpu/run.sh', import.meta.url));
const machine = {
  card: 'Card, 1.2',
  webgpu: { why: 'WGSL kernels on Card.' },
  torch: { torch: '2', triton: '3' },
  processor: '2 × P',
  node: 'v20',
  commit: 'abc',
};

const shape = { tokens: 8, experts: 4, choices: 2, width: 16, load: 'zipf' };
/** A round in which our permute takes so many milliseconds of the GPU, PyTorch's two ways 4 and 3, Triton's 2. */
const round = (ms: number) => ({
  ours: {
    results: [
      {
        ...shape,
        skipped: { oneHot: 'too large' },
        floorBytes: { permute: 6e6, copy: 6e6 },
        times: { permute: { median: 9, gpu: ms }, copy: { median: 1 } },
      },
    ],
  },
  torch: {
    results: [
      {
        ...shape,
        times: {
          'permute: slow': { median: 4 },
          'permute: index_select': { median: 3 },
          'permute: triton': { median: 2 },
        },
      },
    ],
  },
});

test('the table: medians over the rounds, by the GPU’s clock, beside PyTorch’s best way and Triton', () => {
  const table: string = tableOf({
    machine,
    tests: [{ name: 'WGSL', passed: 5, failed: 1 }],
    dispatch: { command: '--tokens 8', rounds: [round(2), round(1), round(4), { ours: { failed: 'a\nno GPU' } }] },
    training: { tiny: { sides: { webgpu: {}, native: {} }, steps: 20, apart: 2.4e-7 } },
  });
  expect(table).toContain(
    '**Machine.** Card, 1.2; WGSL kernels on Card. 2 × P, Node v20, PyTorch 2, Triton 3; commit abc.',
  );
  expect(table).toContain('**Tests, WGSL.** 5 passed, 1 failed.');
  expect(table).toContain('A round of ours failed: no GPU');
  expect(table).toContain('8 tokens × 16, 2 of 4 experts, zipf:');
  // 6 MB in 2 ms are 3 GB/s, half of the copy's 6 MB in 1 ms; 3 / 2 of PyTorch's best way, 2 / 2 of Triton's.
  expect(table).toContain('| permute | 2 (1–4) | 3 | 0.5 | 9 | 3 | index_select | 2 | 1.5 | 1 |');
  expect(table).toContain('| copy | 1 (1–1) | 6 |  | 1 |  |  |  |  |  |');
  expect(table).toContain('Left out: oneHot: too large.');
  expect(table).toContain('**Training, tiny.** 20 steps on webgpu and native: losses at most 2.4e-7 apart.');
  expect(tableOf({ machine, tests: null, dispatch: null, training: null })).toMatch(/^\*\*Machine.*abc\.\n\n$/);
});

test('wrong words: one sentence and exit 2', () => {
  const said = (...args: string[]): string => {
    const { status, stderr, stdout } = spawnSync('bash', [RUN, ...args], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([2, '']);
    return stderr;
  };
  expect(said()).toBe('run: give one folder for the results; see --help.\n');
  expect(said('/tmp', '--only', 'all')).toBe('run: --only all is not known; use tests, dispatch, training.\n');
  expect(said('/tmp', '--ronds', '2')).toMatch(/^run: Unknown option '--ronds'.*see --help\.\n$/);
  const help = spawnSync('bash', [RUN, '--help'], { encoding: 'utf8' });
  expect([help.status, help.stdout.includes('VULKAN_FOLDER')]).toEqual([0, true]);
});
