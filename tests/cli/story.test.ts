// One person's day with the program on a tiny made-up world: look at the text, train, see the routing, measure, talk, grow
// experts from a dense model, train on, look again. Every verb runs as a child process, with --json and for people.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { moe, tinyWorld } from './world.ts';

const world = tinyWorld();
afterAll(world.remove);
const run = (...args: string[]) => moe(world.folder, ...args);

type Json = ReturnType<typeof JSON.parse>;

/** The one JSON value on stdout, which must hold nothing else; the words for people are then on stderr. */
async function json(...args: string[]): Promise<Json> {
  const { code, out, err } = await run(...args, '--json');
  expect(code, err).toBe(0);
  expect(out.endsWith('\n') && out.trimEnd().split('\n')).toHaveLength(1);
  readable(err);
  return JSON.parse(out);
}

/** Nothing that a computation left behind, no colours into a pipe. */
function readable(words: string): string {
  expect(words).not.toMatch(/NaN|undefined|\[object|Infinity/);
  expect(words).not.toContain('\u001b');
  return words;
}

let trained: Json;
let dense: Json;
beforeAll(async () => {
  [trained, dense] = await Promise.all([
    json('train', '--families', world.config, '--out', 'runs/first'),
    json('train', '--families', world.config, '--out', 'runs/dense', '--set', 'model.moe_layers=none'),
  ]);
}, 60_000);

test('train leaves a run folder that says everything', () => {
  expect(trained).toMatchObject({ run: 'runs/first', steps: 4, finished: true });
  expect(trained.validation.gap).toBeCloseTo(
    trained.validation.free.languageMean - trained.validation.given.languageMean,
    12,
  );
  expect(dense.validation).toMatchObject({ given: null, gap: null });
  const folder = join(world.folder, 'runs/first');
  expect(readdirSync(folder).sort()).toEqual([
    'checkpoints',
    'config.yaml',
    'environment.json',
    'events',
    'metrics.jsonl',
  ]);
  expect(readdirSync(join(folder, 'checkpoints'))).toEqual(['step-000003', 'step-000004']);
  const environment = JSON.parse(readFileSync(join(folder, 'environment.json'), 'utf8'));
  expect(environment).toMatchObject({ node: process.version, vocabulary: 257 });
});

test('train for people ends with what was reached and what to do next', async () => {
  const ended = await run('train', '--families', 'runs/first/config.yaml', '--out', 'runs/again');
  const words = readable(ended.out);
  expect(words).toContain('5 languages, 3 experts (tiny), k 2');
  expect(words.trimEnd().split('\n').at(-1)).toBe('See where languages route: moe analyze-routing runs/again');
  expect(ended.err).toMatch(/^step 0: held-out loss \d\.\d{4} nats per token\.$/m);
  const losses = (name: string): string => readFileSync(join(world.folder, 'runs', name, 'metrics.jsonl'), 'utf8');
  expect(losses('again'), 'config.yaml of a run repeats it').toBe(losses('first'));
});

test('analyze-routing draws pictures that exist, and again from its own trace', async () => {
  const { files, metrics, trace } = await json('analyze-routing', 'runs/first');
  expect(trace).toBe('runs/first/routing');
  for (const file of files) expect(existsSync(join(world.folder, file)), file).toBe(true);
  expect(metrics).toBeTypeOf('object');
  const control = JSON.parse(readFileSync(join(world.folder, trace, 'untrained', 'trace.json'), 'utf8'));
  expect(control.untrainedRouter).toBe(0);
  const again = await json('analyze-routing', '--trace', trace, '--out', 'drawn-again', '--compare', trace);
  expect(again.sentences.at(-1)).toMatch(/had already chosen 100 % in layer \d/);
  expect(readFileSync(join(world.folder, 'drawn-again', 'saturation.csv'), 'utf8')).toMatch(
    /^layer,group,saturation,chance/,
  );
  const svg = (folder: string): string => readFileSync(join(world.folder, folder, 'flow.svg'), 'utf8');
  expect(svg('drawn-again')).toBe(svg(trace));
});

test('eval reports each language with and without ids; its free loss is that of the same text under analysis', async () => {
  const result = await json('eval', 'runs/first', '--split', 'validation', '--tokens', '40');
  const { free, given, split, step, documents, gap } = result;
  expect([split, step, free.byLanguage.length]).toEqual(['validation', 4, 5]);
  const sum = (key: string) => documents.reduce((total: number, row: Json) => total + row[key], 0);
  expect(sum('tokens')).toBe(free.all.tokens);
  expect(sum('free') / sum('tokens')).toBeCloseTo(free.all.tokenWeighted, 9);
  expect(gap.at(-1).gap).toBeCloseTo(given.all.bitsPerByteMean - free.all.bitsPerByteMean, 9);
  expect(sum('given') / sum('bytes') / Math.LN2).toBeCloseTo(given.all.bitsPerByte, 9);
  expect(free.all.languageMean).toBeCloseTo(trained.validation.free.languageMean, 9);
  expect(given.all.languageMean).toBeCloseTo(trained.validation.given.languageMean, 9);
});

test('generate continues a prompt, the same way for the same seed', async () => {
  const args = [
    'generate',
    'runs/first',
    '--prompt',
    'ta',
    '--language',
    'x1a',
    '--routing',
    'forced',
    '--tokens',
    '6',
  ];
  const [one, two] = await Promise.all([json(...args), run(...args)]);
  expect(one).toMatchObject({ prompt: 'ta', routing: 'forced' });
  expect(one.tokens).toHaveLength(6);
  expect(two.out.startsWith('ta')).toBe(true);
  expect(two.out).toBe(`ta${one.text}\n`);
});

test('a dense run is upcycled, trained on and inspected', async () => {
  const grown = await json(
    'upcycle',
    '--from',
    'runs/dense',
    '--families',
    'families.yaml',
    '--layers',
    '1',
    '--out',
    'grown',
  );
  expect(grown.error).toBeLessThan(1e-5);
  expect(grown.meanScale).toBeCloseTo(1, 6);
  const [looked, more] = await Promise.all([
    json('inspect', 'grown'),
    json(
      'train',
      '--families',
      world.config,
      '--init',
      'grown',
      '--out',
      'runs/more',
      '--set',
      'upcycle.at=0',
      '--steps',
      '2',
    ),
  ]);
  // Dense 8,096 = 257·16 embeddings + 2 layers (16·16+16 + 2·(8·16+8) + 16·16 + 3·16·24 + 2·16) + 16; then two more experts and a router.
  expect(looked).toMatchObject({
    experts: 3,
    k: 2,
    moeLayers: [1],
    parameters: { total: 8096 + 2 * 3 * 16 * 24 + 3 * 16 },
  });
  const start = readFileSync(join(world.folder, 'runs/more/metrics.jsonl'), 'utf8').split('\n')[0];
  expect(JSON.parse(start).free.all.languageMean).toBeCloseTo(dense.validation.free.languageMean, 5);
  expect(more.steps).toBe(2);
});

test('data stats, data check and doctor answer people and machines', async () => {
  const [stats, checks, doctor] = await Promise.all([
    json('data', 'stats', '--families', world.config),
    run('data', 'check', '--families', world.config, '--json'),
    json('doctor'),
  ]);
  expect(stats.languages.map((row: { code: string }) => row.code)).toEqual(['x0a', 'x0b', 'x1a', 'x1b', 'x2a']);
  expect(Array.isArray(JSON.parse(checks.out))).toBe(true);
  const failed = JSON.parse(checks.out).some((row: { result: string }) => row.result === 'fail');
  expect(checks.code).toBe(failed ? 1 : 0);
  expect(doctor.candidates.filter((candidate: { works: boolean }) => candidate.works).length).toBeGreaterThan(0);
});
