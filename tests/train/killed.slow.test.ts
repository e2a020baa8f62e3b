// The promise: same seed, configuration and backend, same bits. The real program is killed (SIGKILL) twenty times, between
// steps, during saves and where the experts are grown, and resumed each time: it must end as the unbroken run did, byte for byte.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readMetrics } from '../../src/train/metrics.ts';
import { createRng } from '../../src/train/rng.ts';
import { moe, startMoe, tinyWorld } from '../cli/world.ts';

const STEPS = 42;
const GROWTH = STEPS / 2;
const KILLS = 20;
const world = tinyWorld({
  model: {
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 64,
    moe_layers: 'last 2',
  },
  router: { bias_rate: 0.01 },
  upcycle: { at: 0.5, noise: 0.05 },
  train: {
    steps: STEPS,
    batch_size: 2,
    accumulation: 2,
    evaluate_every: 3,
    evaluate_tokens: 40,
    save_every: 1,
    record_every: 2,
  },
});
afterAll(world.remove);

const train = (out: string): string[] => ['train', '--families', world.config, '--out', out];
const inRun = (run: string, ...path: string[]): string => join(world.folder, run, ...path);
const saved = (run: string, step: number): string => inRun(run, 'checkpoints', stepName(step));
const beingSaved = (run: string, step: number): string => inRun(run, 'checkpoints', `.${stepName(step)}.partial`);
const stepName = (step: number): string => `step-${String(step).padStart(6, '0')}`;

/** What a finished run must have in common with its twin. */
function results(run: string): Record<string, string> {
  const file = (name: string): string => readFileSync(join(saved(run, STEPS), name), 'latin1');
  return {
    metrics: readFileSync(inRun(run, 'metrics.jsonl'), 'utf8'),
    model: file('model.safetensors'),
    optimizer: file('optimizer.safetensors'),
    state: file('trainer_state.json'),
  };
}

function expectSame(run: string, twin: string): void {
  const [mine, other] = [results(run), results(twin)];
  const lines = other.metrics.split('\n');
  mine.metrics.split('\n').forEach((line, i) => void expect(line, `line ${i + 1} of metrics.jsonl`).toBe(lines[i]));
  for (const name of Object.keys(other)) expect(mine[name] === other[name], `${name} of ${run}`).toBe(true);
}

/** Starts or resumes the run and kills it `delay` ms after one of `paths` appears. */
async function killAt(args: string[], paths: string[], delay: number): Promise<string> {
  const { child, ended } = startMoe(world.folder, args);
  let armed = false;
  const look = setInterval(() => {
    if (armed || !paths.some(existsSync)) return;
    armed = true;
    if (delay < 1) child.kill('SIGKILL');
    else setTimeout(() => child.kill('SIGKILL'), delay);
  }, 0.5);
  const { signal, code, err } = await ended;
  clearInterval(look);
  if (signal !== 'SIGKILL') throw new Error(`ended by itself with ${code}: ${err}`);
  return err;
}

it('twice the same run, and the run killed twenty times, end in the same bytes', async () => {
  const unbroken = await Promise.all([moe(world.folder, ...train('one')), moe(world.folder, ...train('two'))]);
  expect(unbroken.map(({ code, err }) => (code === 0 ? 0 : err))).toEqual([0, 0]);
  expectSame('two', 'one');
  expect(readMetrics(inRun('one', 'metrics.jsonl')).filter(({ kind }) => kind === 'train')).toHaveLength(STEPS);

  const rng = createRng('kills');
  const story: string[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const spread = 1 + Math.floor(((kill + rng.uniform()) / KILLS) * (STEPS - 2));
    // Two kills where the experts are grown: on the way there, and during the save of the grown model.
    const step = kill === KILLS / 2 - 1 || kill === KILLS / 2 ? GROWTH : spread;
    const duringSave = kill % 2 === 0;
    const moment = duringSave ? beingSaved('broken', step) : saved('broken', step - 1);
    const after = saved('broken', step);
    // A save is over in milliseconds and may be missed: then the finished checkpoint is taken for it.
    const paths = existsSync(moment) ? [after] : duringSave ? [moment, after] : [moment];
    const delay = rng.uniform() * (duringSave ? 4 : 60);
    const args = kill === 0 ? train('broken') : ['train', '--resume', 'broken'];
    await killAt(args, paths, delay);
    const partial = existsSync(beingSaved('broken', step)) ? 'in a save' : 'between saves';
    story.push(`${step}${step === GROWTH ? ' (growth)' : ''} ${partial}`);
  }
  const { code, err } = await moe(world.folder, 'train', '--resume', 'broken');
  expect(code, err).toBe(0);
  expect(story.filter(line => line.includes('in a save')).length).toBeGreaterThan(0);
  expectSame('broken', 'one');
  process.stdout.write(`${KILLS} kills at steps ${story.join(', ')}; all ${STEPS} steps bit-equal\n`);
});
