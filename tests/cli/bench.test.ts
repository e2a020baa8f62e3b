// `moe bench` as people and scripts run it, and bench/compare.mjs beside it. A small program stands in for Python with torch.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { moe, refusal } from './world.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const common = ['--backend', 'cpu', '--warmup', '1', '--json'];

async function bench(...args: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await moe(folder, 'bench', args[0], ...common, ...args.slice(1));
  expect(code, err).toBe(0);
  return JSON.parse(out);
}

const numbers = { ms: [expect.any(Number), expect.any(Number)], median: expect.any(Number) };
const timing = (name: string, gflop: number, more = {}): object => ({
  name,
  gflop,
  ...numbers,
  min: expect.any(Number),
  max: expect.any(Number),
  gflopPerSecond: expect.any(Number),
  ...more,
});
const machine = {
  versions: { node: process.version, 'language-family-moe': expect.stringMatching(/^\d/), tfjs: '4.22.0' },
  machine: expect.stringContaining(process.arch),
  backend: { name: 'cpu', why: expect.any(String) },
  threads: 1,
  seed: 0,
  warmup: 1,
  peakBytes: expect.any(Number),
  processorSeconds: expect.any(Number),
};

test('train, moe, infer and gemm say what ran, where, and how long each run took', async () => {
  const file = join(folder, 'same.safetensors');
  const [train, layer, infer, gemm] = await Promise.all([
    bench('train', '--model', 'tiny', '--steps', '2', '--save', file),
    bench('moe', '--tokens', '8', '--repeats', '2', '--backend', 'wasm'), // cpu takes seconds for it
    bench('infer', '--model', 'tiny', '--tokens', '5', '--layers', '1', '--repeats', '2'),
    bench('gemm', '--sizes', '2,3', '--repeats', '2'),
  ]);
  const tokens = { tokensPerSecond: expect.any(Number) };
  expect(train).toEqual({
    ...machine,
    work: 'train tiny',
    shape: expect.objectContaining({ layers: 2, experts: 4, batch: 2, sequence: 16, learningRate: 1e-3, clip: 1 }),
    parameters: 25_120,
    timings: [timing('training step', expect.any(Number), tokens)],
    values: [3, 3, 3].map(() => expect.closeTo(Math.log(50), 1)),
  });
  expect(existsSync(file)).toBe(true);
  const operations = 6 * 8 * (2 * 786_432 + 8 * 256);
  expect(layer).toMatchObject({ work: 'moe', timings: [timing('moe layer', operations / 1e9, tokens)] });
  expect(infer).toMatchObject({ work: 'infer tiny', shape: { layers: 1, sequence: 5 }, parameters: 50 * 32 + 9376 });
  expect(gemm).toMatchObject({ work: 'gemm', shape: { sizes: [2, 3] } });
  const rows = [2, 3].flatMap(n => ['NN', 'NT', 'TN', 'TT'].map(t => timing(`${n} ${t}`, (2 * n ** 3) / 1e9)));
  expect(gemm.timings).toEqual(rows);
  expect(train.peakBytes).toBeGreaterThan(2 ** 26); // bytes, not kibibytes
});

test('dispatch: a row for each combination, with the machine; a table for people', async () => {
  const small = ['dispatch', '--tokens', '8,16', '--width', '4', '--experts', '3', '--load', 'zipf', '--repeats', '2'];
  const [result, people, none] = await Promise.all([
    bench(...small),
    moe(folder, 'bench', ...small, '--backend', 'wasm', '--memory', '0.00001'),
    moe(folder, 'bench', ...small, '--choices', '4,5'),
  ]);
  const [tokens, choices, experts, width, load] = [[8, 16], [2], [3], [4], ['zipf']];
  expect(result).toMatchObject({ ...machine, work: 'dispatch', shape: { tokens, choices, experts, width, load } });
  const results = result.results as {
    tokens: number;
    times: Record<string, unknown>;
    ratios: Record<string, number>;
  }[];
  expect(results.map(({ tokens: of }) => of)).toEqual([8, 16]);
  expect(results[0].times.permute).toEqual({ ...numbers, min: expect.any(Number), max: expect.any(Number) });
  expect(results[0].ratios.sort).toBeGreaterThan(0);
  expect(people.code).toBe(0);
  expect(people.out).toMatch(/^moe bench dispatch: tokens 8,16, experts 3, choices 2, width 4, load zipf\nnode v20/);
  expect(people.out).toContain('16 tokens × 4, 2 of 3 experts, zipf');
  expect(people.out).toContain('left out: one-hot products: masks of 16 × ');
  expect(refusal(none)).toBe(
    'moe: --choices 4,5 is more than --experts 3: a token chooses different experts; give fewer choices.',
  );
});

test('people read a table; unknown models get one sentence', async () => {
  const [{ code, out }, train, infer] = await Promise.all(
    [
      ['train', '--model', 'tiny', '--steps', '1', '--backend', 'cpu'],
      ['train', '--model', 'big'],
      ['infer', '--model', 'toString'],
    ].map(args => moe(folder, 'bench', ...args)),
  );
  expect(code).toBe(0);
  expect(out).toMatch(/^moe bench train tiny: layers 2.*25,120 parameters\nnode v20/);
  expect(out).toMatch(/training step +1 +[\d.]+ +[\d.]+ +[\d.]+/);
  expect(out).toMatch(/loss of each step: 3\.90716 3\.91827 3\.93470 3\.88799\n/);
  expect(refusal(train)).toBe('moe: --model big is not known; use dense, post-moe, post-moe-64, tiny.');
  expect(refusal(infer)).toBe('moe: --model toString is not known; use qwen2-0.5b, tiny.');
});

const COMPARE = fileURLToPath(new URL('../../bench/compare.mjs', import.meta.url));

/** Runs bench/compare.mjs on the tiny model against a Python that answers `answer` whatever it is asked. */
function compare(answer: object | null, ...args: string[]) {
  const python = join(folder, `python-${Math.abs(JSON.stringify(answer).length)}`);
  const body = answer === null ? 'process.exit(1)' : `console.log(${JSON.stringify(JSON.stringify(answer))})`;
  writeFileSync(python, `#!${process.execPath}\n${body}\n`);
  chmodSync(python, 0o755);
  const all = [COMPARE, '--work', 'tiny', '--backend', 'cpu', '--repeats', '2', '--python', python, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' });
  return { status, out: stdout, err: stderr };
}

const torch = {
  work: 'train tiny',
  versions: { torch: '0' },
  machine: 'stand-in',
  backend: { name: 'torch', why: '' },
  threads: 2,
  shape: {},
  parameters: 25_120,
  peakBytes: 2 ** 20,
  processorSeconds: 0,
  timings: [{ name: 'training step', ms: [7], median: 7, min: 6, max: 8, gflop: 1, gflopPerSecond: 1 }],
  values: [3.9071640968322754, 3.9182703495025635],
};

test('pairs of runs: the ratio is of the medians, with the span of the pairs', () => {
  const { status, out } = compare(torch, '--pairs', '2', '--json');
  expect(status).toBe(0);
  const { rows, runs, memory, sides, othersShare } = JSON.parse(out);
  for (const share of othersShare.flat()) expect(share).toBeGreaterThanOrEqual(0);
  for (const share of othersShare.flat()) expect(share).toBeLessThanOrEqual(1);
  expect(othersShare.map((side: number[]) => side.length)).toEqual([2, 2]);
  expect(sides).toEqual(['ours', 'torch']);
  const ours: number[] = runs[0].map((run: { timings: { median: number }[] }) => run.timings[0].median);
  expect(ours).toHaveLength(2);
  expect(rows).toHaveLength(1);
  expect(rows[0].ms).toEqual([(ours[0] + ours[1]) / 2, 7]);
  expect(rows[0].ratio).toBeCloseTo(14 / (ours[0] + ours[1]), 12);
  expect(rows[0].span).toEqual([7 / Math.max(...ours), 7 / Math.min(...ours)]);
  expect(memory.ratio).toBeCloseTo(memory.bytes[0] / 2 ** 20, 12);
});

test('--check: equal losses and parameters agree, others end with 1', () => {
  const good = compare(torch, '--check');
  expect(good.out).toContain('agree: at most');
  expect(good.status).toBe(0);
  const wrongLoss = compare({ ...torch, values: [torch.values[0], 3.9184] }, '--check');
  expect(wrongLoss.out).toContain('DISAGREE');
  expect(wrongLoss.status).toBe(1);
  expect(compare({ ...torch, parameters: 25_121 }, '--check').status).toBe(1);
});

test('no Python, no torch, wrong words: one sentence and exit 2', () => {
  const said = (...args: string[]): string => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [COMPARE, ...args], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([2, '']);
    return stderr;
  };
  expect(said('--python', join(folder, 'none'))).toMatch(
    /^compare: there is no Python at '.*none' .*--python PATH\.\n$/,
  );
  expect(compare(null).err).toMatch(/^compare: '.*' has no torch; install it with 'pip install torch', .*\n$/);
  expect(said('--work', 'all')).toMatch(/^compare: --work all is not known; use dense, .*\.\n$/);
  expect(said('--pairs', '0')).toMatch(/^compare: --pairs 0 is not a whole number above 0; .*\n$/);
  expect(said('--pears', '2')).toMatch(/^compare: Unknown option '--pears'.*see --help\.\n$/);
  expect(execFileSync(process.execPath, [COMPARE, '--help'], { encoding: 'utf8' })).toContain('--check');
});
