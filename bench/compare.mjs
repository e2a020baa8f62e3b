// Ours against PyTorch on this machine, as separate processes in turn: pair by pair, each pair in the other order, so that
// what else the machine does falls on both. Prints every pair, the ratio of the medians and the span of the pairs' ratios.
//   node bench/compare.mjs --work dense --pairs 5 --backend native --python PATH
// With --check: both run the same weights and tokens, and their losses must agree.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const PROGRAM = fileURLToPath(new URL('../bin/moe.mjs', import.meta.url));
const BASELINE = fileURLToPath(new URL('torch_baseline.py', import.meta.url));
const TOLERANCE = 1e-4; // of losses over the first steps, and of other values relative to their size

const MOST_OTHERS = 0.1; // share of the processors; above it, times say more about the other programs

const train = model => ['train', '--model', model];
/** What each side runs. `count` is the option for how often; `checks` are smaller sizes for --check, null where there is none;
 *  `steps` how many that compares: once a token at a near tie takes another expert, AdamW turns the difference into 1e-4. */
const WORKS = {
  dense: { ours: train('dense'), count: '--steps' },
  'post-moe': { ours: train('post-moe'), count: '--steps', steps: '2' },
  'post-moe-64': { ours: train('post-moe-64'), count: '--steps', steps: '2' },
  tiny: { ours: train('tiny'), count: '--steps' },
  moe: { ours: ['moe'], count: '--repeats' },
  'tiny-infer': { ours: ['infer', '--model', 'tiny', '--tokens', '16'], count: '--repeats' },
  infer: { ours: ['infer'], count: '--repeats', checks: ['--layers', '1', '--tokens', '16'] },
  gemm: { ours: ['gemm'], count: '--repeats', checks: null },
  experts: { ours: train('post-moe'), theirs: train('post-moe-64'), sides: ['7 experts', '64 experts'], checks: null },
  threads: { ours: train('dense'), sides: ['all threads', '1 thread'], checks: null },
};

class Refusal extends Error {}

const OPTIONS = {
  work: { type: 'string', default: 'dense' },
  pairs: { type: 'string', default: '5' },
  backend: { type: 'string', default: 'auto' },
  python: { type: 'string', default: 'python3' },
  threads: { type: 'string', default: '2' },
  repeats: { type: 'string' },
  warmup: { type: 'string' },
  adamw: { type: 'string' },
  check: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

const HELP = `node bench/compare.mjs [options]
  --work NAME      ${Object.keys(WORKS).join(', ')} (default dense);
                   experts: ours, 64 experts against 7; threads: ours, 1 thread against --threads
  --pairs N        runs of each side (default 5)
  --backend NAME   ours (default auto)
  --python PATH    a Python that has torch (default python3)
  --threads N      of both sides (default 2)
  --repeats N      steps or repeats that count in each run (default: each side's own)
  --warmup N       and those before them
  --adamw NAME     PyTorch's optimizer: auto, fused, foreach, loop
  --check          compare losses and parameter counts instead of times; every work but gemm, experts and threads
  --json           one JSON value on stdout, words on stderr`;

try {
  main();
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`compare: ${error.message}\n`);
  process.exitCode = 2;
}

function main() {
  const options = readOptions();
  if (options.help) return void console.log(HELP);
  const work = WORKS[options.work];
  if (!work) throw new Refusal(`--work ${options.work} is not known; use ${Object.keys(WORKS).join(', ')}.`);
  if (!work.sides) requireTorch(options.python);
  const say = line => void (options.json ? process.stderr : process.stdout).write(`${line}\n`);
  const result = options.check ? check(work, options, say) : compare(work, options, say);
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
}

function readOptions() {
  let values;
  try {
    values = parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    throw new Refusal(`${error.message.replace(/\.$/, '')}; see --help.`);
  }
  for (const name of ['pairs', 'threads', 'repeats', 'warmup'])
    if (values[name] !== undefined && !(/^\d+$/.test(values[name]) && (name === 'warmup' || Number(values[name]) > 0)))
      throw new Refusal(`--${name} ${values[name]} is not a whole number above 0; give one.`);
  return values;
}

/** The two sides: a name and what to run. */
function sidesOf(work, options) {
  const often = [
    ...(options.repeats ? [work.count ?? '--steps', options.repeats] : []),
    ...(options.warmup ? ['--warmup', options.warmup] : []),
  ];
  const ours =
    (args, threads = options.threads) =>
    () =>
      run(process.execPath, [
        PROGRAM,
        'bench',
        ...args,
        ...often,
        '--backend',
        options.backend,
        '--threads',
        threads,
        '--json',
      ]);
  const adamw = options.adamw && work.ours[0] === 'train' ? ['--adamw', options.adamw] : [];
  const theirs = () =>
    run(options.python, [BASELINE, ...work.ours, ...often, ...adamw, '--threads', options.threads, '--json']);
  if (!work.sides)
    return [
      ['ours', ours(work.ours)],
      ['torch', theirs],
    ];
  const other = work.theirs ? ours(work.theirs) : ours(work.ours, '1');
  return [
    [work.sides[0], ours(work.ours)],
    [work.sides[1], other],
  ];
}

/** Runs the pairs. Ratio: time of the second side over time of the first, so above 1 the first is faster. */
function compare(work, options, say) {
  const sides = sidesOf(work, options);
  const results = [[], []];
  const [a, b] = sides.map(([name]) => name);
  for (let pair = 0; pair < Number(options.pairs); pair++) {
    for (const side of pair % 2 === 0 ? [0, 1] : [1, 0]) results[side].push(sides[side][1]());
    if (pair === 0) describe(sides, results, say);
    const rows = results[0][pair].timings.map((row, i) => [row, results[1][pair].timings[i]]);
    for (const [first, second] of rows)
      say(
        `pair ${pair + 1}  ${first.name}: ${a} ${figures(first)}, ${b} ${figures(second)}, ratio ${(second.median / first.median).toFixed(2)}`,
      );
  }
  return conclude(options, results, [a, b], say);
}

function figures({ median: ms, gflopPerSecond }) {
  return `${ms.toFixed(1)} ms (${gflopPerSecond.toFixed(0)} GFLOP/s)`;
}

function describe(sides, results, say) {
  sides.forEach(([name], i) => {
    const { work, versions, backend, threads, parameters, shape, machine } = results[i][0];
    const words = of =>
      Object.entries(of)
        .map(([key, value]) => `${key} ${value}`)
        .join(', ');
    say(
      `${name}: ${work}, ${words(versions)}, backend ${backend.name} (${backend.why}), ${threads} threads, ${machine}`,
    );
    say(`  ${words(shape)}${parameters ? `, ${parameters} parameters` : ''}`);
  });
}

function conclude(options, results, [a, b], say) {
  const rows = results[0][0].timings.map((_, i) => row(results, i, b));
  const bytes = results.map(side => median(side.map(result => result.peakBytes)));
  const memory = { bytes, ratio: bytes[0] / bytes[1] };
  say('');
  for (const each of rows) say(sentence(each, a, b));
  say(
    `peak memory: ${a} ${mebibytes(bytes[0])}, ${b} ${mebibytes(bytes[1])}: ${a} takes ${memory.ratio.toFixed(2)} × as much.`,
  );
  const others = results.map(side => side.map(result => result.othersShare));
  const worst = Math.max(...others.flat());
  say(
    `other programs took ${percent(median(others.flat()))} of the processors meanwhile, ${percent(worst)} in the worst run.`,
  );
  if (worst > MOST_OTHERS) say('THE MACHINE WAS BUSY: these times do not count; run this again when it is idle.');
  return {
    work: options.work,
    pairs: Number(options.pairs),
    sides: [a, b],
    rows,
    memory,
    othersShare: others,
    runs: results,
  };
}

/** The i-th timing of all pairs. */
function row([ours, theirs], i, b) {
  const times = [ours, theirs].map(side => side.map(result => result.timings[i].median));
  const each = times[0].map((ms, pair) => times[1][pair] / ms);
  const summary = timings => ({
    ms: median(timings.map(timing => timing.median)),
    fastest: Math.min(...timings.map(timing => timing.min)),
  });
  const sides = [ours, theirs].map(side => summary(side.map(result => result.timings[i])));
  const { name, gflop } = ours[0].timings[i];
  const result = {
    name,
    gflop,
    ms: sides.map(side => side.ms),
    fastest: sides.map(side => side.fastest),
    ratio: sides[1].ms / sides[0].ms,
    span: [Math.min(...each), Math.max(...each)],
  };
  const libraries = Object.keys(theirs[0].others ?? {});
  if (libraries.length === 0) return result;
  const others = { [b]: sides[1] };
  for (const library of libraries) others[library] = summary(theirs.map(({ others }) => others[library][i]));
  const share = key => Math.min(...Object.values(others).map(other => other[key])) / sides[0][key];
  return { ...result, others, shareOfBest: { ms: share('ms'), fastest: share('fastest') } };
}

function sentence({ name, gflop, ms, fastest, ratio, span, others, shareOfBest }, a, b) {
  const times = [a, b].map((side, i) => `${side} ${ms[i].toFixed(1)} ms (fastest ${fastest[i].toFixed(1)})`);
  const pairs = `pairs ${span.map(of => of.toFixed(2)).join(' to ')}`;
  const words = `${name}: ${times.join(', ')}: ${a} is ${ratio.toFixed(2)} × as fast as ${b} (${pairs})`;
  if (!others) return words;
  const rates = { [a]: { ms: ms[0], fastest: fastest[0] }, ...others };
  const each = Object.entries(rates).map(
    ([who, time]) => `${who} ${rate(gflop, time.ms)} (${rate(gflop, time.fastest)})`,
  );
  const share = `${percent(shareOfBest.ms)} of the best, ${percent(shareOfBest.fastest)} by fastest runs`;
  return `${name}: GFLOP/s ${each.join(', ')}; ${ratio.toFixed(2)} × ${b} (${pairs}); ${share}`;
}

function rate(gflop, ms) {
  return ((gflop / ms) * 1000).toFixed(0);
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}

/** Both sides from the same file of weights and tokens. */
function check(work, options, say) {
  if (work.checks === null) throw new Refusal(`--check does not go with --work ${options.work}; name a model.`);
  const folder = mkdtempSync(join(tmpdir(), 'moe-compare-'));
  const often = [work.count, options.repeats ?? work.steps ?? (work.count === '--steps' ? '5' : '1'), '--warmup', '0'];
  const same = [...work.ours, ...often, ...(work.checks ?? []), '--threads', options.threads, '--json'];
  const file = join(folder, 'same.safetensors');
  try {
    const ours = run(process.execPath, [PROGRAM, 'bench', ...same, '--backend', options.backend, '--save', file]);
    const theirs = run(options.python, [BASELINE, ...same, '--load', file]);
    return judge(options, ours, theirs, say);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function judge({ work, backend }, ours, theirs, say) {
  const isLoss = ours.work.startsWith('train');
  const apart = ours.values.map(
    (value, i) => Math.abs(value - theirs.values[i]) / (isLoss ? 1 : Math.abs(theirs.values[i])),
  );
  const worst = ours.values.length === theirs.values.length ? Math.max(...apart) : Number.POSITIVE_INFINITY;
  const agrees = ours.parameters === theirs.parameters && worst <= TOLERANCE;
  say(
    `${work} on ${ours.backend.name} (asked for: ${backend}): ${ours.parameters} parameters, torch ${theirs.parameters}`,
  );
  ours.values.forEach((value, i) => {
    say(`  ${isLoss ? `loss of step ${i + 1}` : `value ${i + 1}`}: ours ${value}, torch ${theirs.values[i]}`);
  });
  say(`  ${agrees ? 'agree' : 'DISAGREE'}: at most ${worst.toExponential(1)} apart, allowed ${TOLERANCE}`);
  if (!agrees) process.exitCode = 1;
  return {
    work,
    agrees,
    worst,
    parameters: [ours.parameters, theirs.parameters],
    values: [ours.values, theirs.values],
  };
}

function requireTorch(path) {
  const { error, status } = spawnSync(path, ['-c', 'import torch'], { stdio: 'ignore' });
  if (error)
    throw new Refusal(`there is no Python at '${path}' (${error.code}); name one that has torch with --python PATH.`);
  if (status !== 0)
    throw new Refusal(
      `'${path}' has no torch; install it with 'pip install torch', or name another Python with --python PATH.`,
    );
}

function run(program, args) {
  const before = processorTimes();
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (error) throw new Refusal(`${program} does not start (${error.code}).`);
  if (status !== 0)
    throw new Refusal(`'${[program, ...args].join(' ')}' ended with ${status}: ${stderr.trim().split('\n').at(-1)}`);
  const result = JSON.parse(stdout);
  return { ...result, othersShare: othersShare(before, processorTimes(), result.processorSeconds) };
}

/** Milliseconds that all processors have spent since the machine started, busy and altogether. */
function processorTimes() {
  const times = cpus().map(({ times: of }) => of);
  const sum = of => Object.values(of).reduce((a, b) => a + b, 0);
  return {
    all: times.reduce((total, of) => total + sum(of), 0),
    busy: times.reduce((total, of) => total + sum(of) - of.idle, 0),
  };
}

/** Share of the processors that other programs took during a run that itself took `own` seconds of them. */
function othersShare(before, after, own) {
  const others = after.busy - before.busy - own * 1000;
  return Math.min(1, Math.max(0, others / Math.max(1, after.all - before.all)));
}

function median(values) {
  const sorted = values.toSorted((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
