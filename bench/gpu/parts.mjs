// The parts of a run on a GPU: tests, dispatch, training. Each runs programs of this repository, says what came of them in a line,
// and keeps all of it as JSON; a part that fails is said and kept too, and the next one runs.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROGRAM, ROOT } from './machine.mjs';

const TORCH = join(ROOT, 'bench', 'gpu', 'torch_dispatch.py');

export const say = words => void process.stdout.write(`${words}\n`);
export const write = (out, name, value) =>
  writeFileSync(join(out, `${name}.json`), `${JSON.stringify(value, null, 1)}\n`);
export const read = (out, name) =>
  existsSync(join(out, `${name}.json`)) ? JSON.parse(readFileSync(join(out, `${name}.json`), 'utf8')) : null;

/** A GPU that hangs must not take the other parts with it. */
const LONGEST_MS = 20 * 60_000;

const TEST_RUNS = [
  { name: 'WGSL', args: ['--project', 'fast', 'tests/engine/webgpu', 'tests/experts/webgpu', 'tests/routing/webgpu'] },
  { name: 'plans', args: ['--project', 'slow', 'tests/experts/webgpu'] },
  {
    name: 'all operations',
    args: [
      '--project',
      'fast',
      '-t',
      'webgpu',
      ...['engine', 'experts', 'routing', 'model', 'bench'].map(room => `tests/${room}`),
    ],
  },
];
const SMALL_TEST_RUNS = [
  { name: 'WGSL', args: ['--project', 'fast', 'tests/engine/webgpu/program', 'tests/engine/webgpu/gather-rows'] },
];

export function runTests({ out, values, environment }) {
  const results = [];
  for (const { name, args } of values.small ? SMALL_TEST_RUNS : TEST_RUNS) {
    const file = join(out, `vitest-${results.length + 1}.json`);
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
    const command = [vitest, 'run', '--passWithNoTests', '--reporter=json', `--outputFile=${file}`, ...args];
    const { status, stderr, seconds } = timed(process.execPath, command, environment);
    const report = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
    const failures = (report?.testResults ?? []).flatMap(suite =>
      suite.assertionResults
        .filter(test => test.status === 'failed')
        .map(test => ({
          test: `${suite.name.replace(ROOT, '')} > ${test.fullName}`,
          why: test.failureMessages[0]?.slice(0, 600),
        })),
    );
    const broken = (report?.testResults ?? []).filter(
      suite => suite.status === 'failed' && suite.assertionResults.length === 0,
    );
    const result = {
      name,
      passed: report?.numPassedTests ?? 0,
      failed: failures.length + broken.length,
      failures,
      broken: broken.map(({ name: of, message }) => ({ test: of, why: message?.slice(0, 600) })),
      seconds,
    };
    if (!report) result.broken.push({ test: 'vitest', why: `ended with ${status}: ${stderr.trim().slice(-600)}` });
    results.push(result);
    say(`tests, ${name}: ${result.passed} passed, ${result.failed} failed, ${seconds.toFixed(0)} s`);
    for (const { test, why } of [...failures, ...result.broken])
      say(`  FAILED ${test}\n    ${(why ?? '').split('\n')[0]}`);
    write(out, 'tests', results);
  }
}

export function runDispatch({ out, values, environment, python }) {
  const lists = ['tokens', 'experts', 'choices', 'width', 'load', 'repeats'].flatMap(name => [
    `--${name}`,
    values[name],
  ]);
  const sides = [
    [
      'ours',
      () =>
        timed(
          process.execPath,
          [PROGRAM, 'bench', 'dispatch', ...lists, '--memory', values.memory, '--backend', 'webgpu', '--json'],
          environment,
        ),
    ],
  ];
  if (python) sides.push(['torch', () => timed(python, [TORCH, ...lists, '--json'], process.env)]);
  const rounds = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const results = {};
    for (const [name, run] of round % 2 === 0 ? sides : sides.toReversed()) {
      const { status, stdout, stderr, seconds } = run();
      results[name] = status === 0 ? JSON.parse(stdout) : { failed: stderr.trim().slice(-2000) };
      say(
        `dispatch, round ${round + 1}, ${name}: ${status === 0 ? 'done' : `FAILED: ${stderr.trim().split('\n').at(-1)}`}, ${seconds.toFixed(0)} s`,
      );
    }
    rounds.push(results);
    write(out, 'dispatch', { command: lists.join(' '), rounds });
  }
}

export function runTraining({ out, values, environment }) {
  const other = read(out, 'machine').native.works ? 'native' : 'wasm';
  const results = {};
  const works = { 'tiny model': backend => tinyLosses(backend, values, environment) };
  if (!values.small) works['50 languages, preset quick'] = backend => languageLosses(backend, out, values, environment);
  for (const [name, run] of Object.entries(works)) {
    const sides = Object.fromEntries(['webgpu', other].map(backend => [backend, run(backend)]));
    const [ours, theirs] = Object.values(sides).map(side => side.losses ?? []);
    const compared = Math.min(ours.length, theirs.length);
    const apart =
      compared === 0 ? null : Math.max(...ours.slice(0, compared).map((loss, i) => Math.abs(loss - theirs[i])));
    results[name] = { sides, steps: compared, apart };
    const failure = Object.values(sides).find(side => side.failed)?.failed;
    say(
      `training, ${name}: ${failure ? `FAILED: ${failure}` : `${compared} losses, at most ${apart?.toExponential(1)} from ${other}`}`,
    );
    write(out, 'training', results);
  }
}

function tinyLosses(backend, { steps }, environment) {
  const args = ['bench', 'train', '--model', 'tiny', '--steps', steps, '--warmup', '0', '--backend', backend, '--json'];
  const { status, stdout, stderr, seconds } = timed(process.execPath, [PROGRAM, ...args], environment);
  return status === 0 ? { losses: JSON.parse(stdout).values, seconds } : { failed: lastLine(stderr), seconds };
}

function languageLosses(backend, out, { steps }, environment) {
  const folder = join(out, `run-${backend}`);
  rmSync(folder, { recursive: true, force: true });
  const args = [
    'train',
    '--families',
    join(ROOT, 'configs/50lang.yaml'),
    '--preset',
    'quick',
    '--steps',
    steps,
    '--set',
    'train.record_every=1',
    '--set',
    `train.evaluate_every=${steps}`,
    '--set',
    'train.evaluate_tokens=32',
    '--backend',
    backend,
    '--out',
    folder,
  ];
  const { status, stderr, seconds } = timed(process.execPath, [PROGRAM, ...args], environment);
  if (status !== 0) return { failed: lastLine(stderr), seconds };
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
  return { losses: lines.filter(({ kind }) => kind === 'train').map(({ loss }) => loss), seconds };
}

const lastLine = text => text.trim().split('\n').at(-1);

function timed(program, args, environment) {
  const start = performance.now();
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    timeout: LONGEST_MS,
    env: environment,
  });
  return {
    status,
    stdout: stdout ?? '',
    stderr: error ? String(error) : (stderr ?? ''),
    seconds: (performance.now() - start) / 1000,
  };
}
