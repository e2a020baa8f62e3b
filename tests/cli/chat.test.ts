// `moe generate` with beams and with a chat template, on a folder that the transformers library wrote.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { moe, refusal } from './world.ts';

const GOLDEN = join(import.meta.dirname, '..', 'golden');
const NAME = 'qwen3_moe';
const { cases } = JSON.parse(readFileSync(join(GOLDEN, 'generate', 'beams.json'), 'utf8'));
const golden = cases.find(
  (one: { checkpoint: string; eos: number[] }) => one.checkpoint === NAME && one.eos.length === 0,
);

const folder = mkdtempSync(join(tmpdir(), 'moe-chat-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
cpSync(join(GOLDEN, 'hf', NAME), join(folder, NAME), { recursive: true });

/** One character a token; <s> before every prompt. */
const specials = ['<pad>', '<s>', '</s>'];
const letter = (id: number): string => specials[id] ?? String.fromCodePoint(0x4e00 + id);
const textOf = (ids: number[]): string => ids.map(letter).join('');
const start = { SpecialToken: { id: '<s>', type_id: 0 } };
writeFileSync(
  join(folder, NAME, 'tokenizer.json'),
  JSON.stringify({
    added_tokens: specials.map((content, id) => ({ id, content, special: true })),
    decoder: { type: 'Fuse' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [start, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [start, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(Array.from({ length: 96 }, (_, id) => [letter(id), id])),
      merges: [],
      unk_token: '<pad>',
    },
  }),
);
const generate = (...args: string[]) => moe(folder, 'generate', NAME, ...args, '--json');
const question = textOf(golden.prompt.slice(-2));

test('--chat without a template is refused', async () => {
  expect(refusal(await generate('--chat', question))).toMatch(
    /has no chat template .*; give the whole text with --prompt\.$/,
  );
});

test('--chat puts the question into the template, whose start of text is the only one; --beams finds the golden text', async () => {
  const before = textOf(golden.prompt.slice(0, 2));
  const between = textOf(golden.prompt.slice(2, -2));
  const template = `{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}${between}{{ messages[-1].content }}`;
  writeFileSync(join(folder, NAME, 'chat_template.jinja'), template);
  // No token ends a text here, as in the golden.
  rmSync(join(folder, NAME, 'generation_config.json'));
  const config = JSON.parse(readFileSync(join(folder, NAME, 'config.json'), 'utf8'));
  writeFileSync(join(folder, NAME, 'config.json'), JSON.stringify({ ...config, eos_token_id: 0 }));
  const { code, out, err } = await generate('--chat', question, '--system', before, '--beams', '3', '--tokens', '20');
  expect(code, err).toBe(0);
  expect(JSON.parse(out)).toEqual({
    prompt: textOf(golden.prompt),
    text: textOf(golden.texts[0].ids),
    tokens: golden.texts[0].ids,
    routing: 'free',
  });
});

test('one beam writes what temperature 0 writes, with the start of text before a prompt', async () => {
  const ask = ['--prompt', question, '--tokens', '12'];
  const [beam, greedy] = await Promise.all([generate(...ask, '--beams', '1'), generate(...ask, '--temperature', '0')]);
  expect(beam.code, beam.err).toBe(0);
  expect(JSON.parse(beam.out).tokens).toHaveLength(12);
  expect(beam.out).toBe(greedy.out);
});

test('options that do not go together are refused', async () => {
  const wrong = await Promise.all([
    generate('--prompt', 'a', '--chat', 'b'),
    generate('--prompt', 'a', '--system', 'b'),
    generate('--prompt', 'a', '--beams', '2', '--temperature', '1'),
    generate('--prompt', 'a', '--beams', '0'),
  ]);
  expect(wrong.map(refusal)).toEqual([
    "moe: option '--chat <text>' cannot be used with option '--prompt <text>'; see moe --help.",
    'moe: --system goes before a question; add --chat TEXT.',
    "moe: option '--beams <n>' cannot be used with option '--temperature <t>'; see moe --help.",
    "moe: option '--beams <n>' argument '0' is invalid: give a whole number of 1 or more; see moe --help.",
  ]);
});
