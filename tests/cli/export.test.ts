// moe export, and moe upcycle of foreign dense models, as people run them.
import { createHash } from 'node:crypto';
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { moe, refusal, tinyWorld, type World } from './world.ts';

const HOME = join(import.meta.dirname, '..', 'golden');
const CHECKPOINT = join(HOME, 'hub-export', 'checkpoint');
const DENSE = ['qwen2-tied', 'llama3', 'qwen3'];
const INITS = ['normal', 'orthogonal', 'zero', 'hidden-mean'];

/** One character a token, ids 0 to 95. Two blanks: no program would write it like that. */
function tokenizerJson(): string {
  const specials = ['<pad>', '<s>', '</s>'];
  const letter = (id: number): string => specials[id] ?? String.fromCodePoint(94 + id);
  const vocab = Object.fromEntries(Array.from({ length: 96 }, (_, id) => [letter(id), id]));
  const added = specials.map((content, id) => ({ id, content, special: true }));
  return `${JSON.stringify({ added_tokens: added, model: { type: 'BPE', vocab, merges: [], unk_token: '<pad>' } })}  `;
}

let world: World;
const at = (...path: string[]): string => join(world.folder, ...path);
const read = (...path: string[]): string => readFileSync(at(...path), 'utf8');
const json = async (...args: string[]): Promise<Record<string, unknown>> => {
  const { code, out, err } = await moe(world.folder, ...args, '--json');
  expect(code, err).toBe(0);
  return JSON.parse(out);
};

beforeAll(async () => {
  world = tinyWorld();
  for (const name of DENSE) {
    cpSync(join(HOME, 'hf', name), at(name), { recursive: true });
    writeFileSync(at(name, 'tokenizer.json'), tokenizerJson());
    writeFileSync(at(name, 'chat_template.jinja'), '{{ messages }}');
  }
  const { code, err } = await moe(world.folder, 'train', '--families', world.config, '--out', 'run', '--steps', '2');
  expect(code, err).toBe(0);
}, 60_000);
afterAll(() => world.remove());

test('a run is exported with its text, its figures and its hash in the card', async () => {
  const done = await json('export', 'run', '--to', 'qwen2-moe', '--dtype', 'bf16', '--out', 'exported');
  expect(done).toMatchObject({ modelType: 'qwen2_moe', dtype: 'BF16', files: ['model.safetensors'] });
  expect(readdirSync(at('exported')).sort()).toEqual([
    'README.md',
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'provenance.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  const card = read('exported', 'README.md');
  const checkpoint = at('run/checkpoints/step-000002/model.safetensors');
  expect(card).toContain(createHash('sha256').update(readFileSync(checkpoint)).digest('hex'));
  const { corpus } = JSON.parse(read('run', 'environment.json'));
  for (const hash of Object.values<string>(corpus.sources[0].sha256)) expect(card).toContain(hash);
  const measured = read('run', 'metrics.jsonl')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  const { free } = measured.findLast(row => row.kind === 'validation');
  for (const { code, loss } of free.byLanguage) expect(card).toContain(`| ${code} | ${loss.toFixed(4)} |`);
});

test('an export is inspected, generates what its checkpoint does, and is exported again', async () => {
  await json('export', CHECKPOINT, '--to', 'apollo', '--out', 'apollo', '--max-shard-size', '0.02MB');
  expect(await json('inspect', 'apollo')).toMatchObject({ architecture: 'upcycling-qwen2-moe', experts: 3, k: 2 });
  const ask = ['--prompt', 'ta', '--temperature', '0', '--tokens', '12'];
  const [before, after] = [await json('generate', CHECKPOINT, ...ask), await json('generate', 'apollo', ...ask)];
  expect(after.tokens).toEqual(before.tokens);
  await json('export', 'apollo', '--to', 'apollo', '--out', 'again', '--max-shard-size', '0.02MB');
  const names = readdirSync(at('apollo'));
  expect(names.filter(name => name.endsWith('.safetensors')).length).toBeGreaterThan(1);
  expect(readdirSync(at('again'))).toEqual(names);
  for (const name of names)
    expect(readFileSync(at('again', name)).equals(readFileSync(at('apollo', name))), name).toBe(true);
});

test('a checkpoint with a damaged byte is not exported', async () => {
  cpSync(at('run'), at('damaged'), { recursive: true });
  const checkpoint = join('damaged', 'checkpoints', 'step-000002');
  const weights = readFileSync(at(checkpoint, 'model.safetensors'));
  weights[weights.length - 1] ^= 1;
  writeFileSync(at(checkpoint, 'model.safetensors'), weights);
  const said = refusal(await moe(world.folder, 'export', checkpoint, '--to', 'safetensors', '--out', 'new'));
  expect(said).toMatch(/model\.safetensors is damaged \(its SHA-256 differs\)/);
});

test('what cannot be exported is refused in one sentence, and nothing is written', async () => {
  const refused = async (...args: string[]): Promise<string> => refusal(await moe(world.folder, 'export', ...args));
  const said = await Promise.all([
    refused('run', '--to', 'qwen2-moe', '--out', 'run'),
    refused('nowhere', '--to', 'qwen2-moe', '--out', 'new'),
    refused('llama3', '--to', 'apollo', '--out', 'new'),
    refused('run', '--to', 'safetensors', '--out', 'new', '--max-shard-size', 'big'),
    refused('run', '--to', 'gguf', '--out', 'new'),
    refused('run', '--out', 'new'),
  ]);
  expect(said).toEqual([
    'moe: --out run exists already; choose another folder.',
    'moe: nowhere does not exist; name a run folder such as runs/50lang-quick or a checkpoint in it.',
    'moe: --to apollo cannot express this model: it has stretched rotary positions (llama3); use --to safetensors, which keeps everything for moe.',
    "moe: option '--max-shard-size <size>' argument 'big' is invalid: give a size and its unit, MB, GB, MiB or GiB, for example 4GB; see moe --help.",
    "moe: option '--to <layout>' argument 'gguf' is invalid: allowed choices are qwen2-moe, apollo, safetensors; see moe --help.",
    "moe: required option '--to <layout>' not specified; see moe --help.",
  ]);
  expect(readdirSync(world.folder)).not.toContain('new');
});

test.each(DENSE)('%s is upcycled, its tokenizer and template as they were, its parent named by hash', async name => {
  const how = ['--families', world.config, '--layers', 'last:2', '--out', `${name}-grown`];
  const grown = await json('upcycle', '--from', name, ...how);
  expect(grown.error).toBeLessThan(1e-6);
  expect(grown.meanScale).toBeCloseTo(1, 6);
  for (const file of ['tokenizer.json', 'chat_template.jinja', 'generation_config.json'])
    expect(read(`${name}-grown`, file)).toBe(read(name, file));
  const [before, after] = [JSON.parse(read(name, 'config.json')), JSON.parse(read(`${name}-grown`, 'config.json'))];
  for (const id of ['bos_token_id', 'eos_token_id', 'pad_token_id']) expect(after[id], id).toEqual(before[id]);
  const sha256 = createHash('sha256')
    .update(readFileSync(at(name, 'model.safetensors')))
    .digest('hex');
  expect(JSON.parse(read(`${name}-grown`, 'provenance.json'))).toMatchObject({ parent: { name, sha256 } });
  expect(read(`${name}-grown`, 'README.md')).toContain(`- parent: ${name}, SHA-256 of its weights \`${sha256}\``);
});

test.each(INITS)('a foreign model is upcycled with router start %s', async init => {
  const how = ['--families', world.config, '--layers', '2', '--router-init', init, '--out', `start-${init}`];
  expect((await json('upcycle', '--from', 'qwen2-tied', ...how)).error).toBeLessThan(1e-6);
});

test('in shards the parent has the hash of its files one after the other', async () => {
  await json('export', 'qwen2-tied', '--to', 'safetensors', '--out', 'shards', '--max-shard-size', '0.04MB');
  await json('upcycle', '--from', 'shards', '--families', world.config, '--layers', '1', '--out', 'of-shards');
  const files = readdirSync(at('shards')).filter(name => name.endsWith('.safetensors'));
  expect(files.length).toBeGreaterThan(1);
  const hash = createHash('sha256');
  for (const file of files.sort()) hash.update(readFileSync(at('shards', file)));
  expect(JSON.parse(read('of-shards', 'provenance.json')).parent.sha256).toBe(hash.digest('hex'));
});

test('dense → upcycled → exported → opened: parent and families are handed on', async () => {
  await json('upcycle', '--from', 'qwen2-tied', '--families', world.config, '--layers', '2', '--out', 'chain');
  await json('export', 'chain', '--to', 'qwen2-moe', '--out', 'chain-exported');
  const [from, to] = ['chain', 'chain-exported'].map(name => JSON.parse(read(name, 'provenance.json')));
  expect(to).toEqual({ ...from, weights_sha256: expect.stringMatching(/^[\da-f]{64}$/) });
  expect(read('chain-exported', 'README.md')).toContain('| 2 | family-2 | Synthetic 2a (x2a) |');
  rmSync(at('chain-exported', 'model.safetensors'));
  expect(refusal(await moe(world.folder, 'inspect', 'chain-exported'))).toMatch(/has neither model.safetensors nor/);
});
