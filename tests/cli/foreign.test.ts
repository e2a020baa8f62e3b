// The verbs on folders that the transformers library wrote, given a tokenizer.json of one character a token.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { moe, refusal, tinyWorld, type World } from './world.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hf');
const NAME = 'qwen2_moe-fused';
const { generation } = JSON.parse(readFileSync(join(HOME, 'qwen2_moe', 'golden.json'), 'utf8'));

const specials = ['<pad>', '<s>', '</s>'];
const letter = (id: number): string => String.fromCodePoint(0x4e00 + id);
const START = letter(generation.prompt[0]);
const textOf = (ids: number[]): string => ids.map(id => specials[id] ?? letter(id)).join('');

/** Ids 0 … size − 1; the golden's first stands before every prompt. */
function tokenizerJson(size: number): string {
  const vocab = Object.fromEntries(Array.from({ length: size }, (_, id) => [specials[id] ?? letter(id), id]));
  return JSON.stringify({
    added_tokens: specials.map((content, id) => ({ id, content, special: true })),
    decoder: { type: 'Fuse' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: START, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { [START]: { id: START, ids: [generation.prompt[0]], tokens: [START] } },
    },
    model: { type: 'BPE', vocab, merges: [], unk_token: '<pad>' },
  });
}

let world: World;
let folder = '';
beforeAll(() => {
  world = tinyWorld();
  folder = world.folder;
  cpSync(join(HOME, NAME), join(folder, NAME), { recursive: true });
});
afterAll(() => world.remove());

const generate = (...args: string[]) => moe(folder, 'generate', NAME, '--temperature', '0', ...args, '--json');

test('inspect says what it is, and how many numbers there are in the file', async () => {
  const { code, out } = await moe(folder, 'inspect', NAME, '--json');
  expect(code).toBe(0);
  const { tensors } = JSON.parse(readFileSync(join(HOME, 'qwen2_moe', 'golden.json'), 'utf8'));
  const total = Object.values<number[]>(tensors).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  expect(JSON.parse(out)).toMatchObject({
    architecture: 'qwen2_moe',
    languages: 0,
    experts: 6,
    k: 2,
    moeLayers: [1, 2],
    parameters: { total },
    context: 128,
    tied: false,
    stored: { parameters: total, dtypes: { F32: total }, files: 1, fusedExperts: true },
  });
});

test('generate says at once that there is no tokenizer', async () => {
  expect(refusal(await generate('--prompt', 'a'))).toMatch(/cannot read the tokenizer .*tokenizer\.json/);
});

test('generate writes the golden text', async () => {
  writeFileSync(join(folder, NAME, 'tokenizer.json'), tokenizerJson(96));
  const { code, out, err } = await generate('--prompt', textOf(generation.prompt.slice(1)), '--tokens', '64');
  expect(code, err).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ tokens: generation.ids, text: textOf(generation.ids), routing: 'free' });
});

test('a tokenizer of another model is said', async () => {
  writeFileSync(join(folder, NAME, 'tokenizer.json'), tokenizerJson(120));
  expect(refusal(await generate('--prompt', letter(100)))).toMatch(/token 100 .*has 96/);
});

test('a dense one is upcycled with the languages of a families file, and generates as before', async () => {
  const dense = 'qwen3';
  cpSync(join(HOME, dense), join(folder, dense), { recursive: true });
  writeFileSync(join(folder, dense, 'tokenizer.json'), tokenizerJson(96));
  const { generation: golden } = JSON.parse(readFileSync(join(HOME, dense, 'golden.json'), 'utf8'));
  const how = ['--families', world.config, '--layers', 'last:2', '--out', 'grown', '--json'];
  const { code, out, err } = await moe(folder, 'upcycle', '--from', dense, ...how);
  expect(code, err).toBe(0);
  expect(JSON.parse(out).error).toBeLessThan(1e-5);
  // The tokenizer puts another model's first id before the prompt, so both are asked the same.
  const ask = ['--prompt', textOf(golden.prompt), '--tokens', '20', '--temperature', '0', '--json'];
  const [before, after] = await Promise.all([dense, 'grown'].map(name => moe(folder, 'generate', name, ...ask)));
  expect(JSON.parse(before.out).tokens).toHaveLength(20);
  expect(JSON.parse(after.out).tokens).toEqual(JSON.parse(before.out).tokens);
});
