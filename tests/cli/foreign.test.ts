// The verbs on folders that the transformers library wrote, given a tokenizer.json of one character a token.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { moe, refusal } from './world.ts';

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
    model: { type: 'BPE', vocab, merges: [] },
  });
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-foreign-'));
  cpSync(join(HOME, NAME), join(folder, NAME), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true }));

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
