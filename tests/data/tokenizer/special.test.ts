// Which ids no measure counts, and how a single token is written for people.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createTokenizer, loadTokenizer } from '../../../src/data/tokenizer/index.ts';
import { openingOf } from '../../../src/data/tokenizer/opening.ts';
import { readableTokens } from '../../../src/data/tokenizer/readable.ts';
import { specialIds } from '../../../src/data/tokenizer/special.ts';
import type { Tokenizer } from '../../../src/data/types.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-special-'));
afterAll(() => rmSync(folder, { recursive: true }));

const added = (id: number, content: string, special: boolean) => ({ id, content, special });
const file = {
  added_tokens: [
    added(10, '<|begin|>', true),
    added(11, '<|end|>', false),
    added(12, '<tool>', false),
    added(13, '   ', false), // runs of spaces are added tokens of some vocabularies
    added(14, 'PHONE', false),
    added(15, '<pad>', false),
  ],
  decoder: { type: 'Metaspace' },
  model: {
    vocab: [
      ['▁the', 0],
      ['<0xE4>', 0],
      ['<0x41>', 0],
      ['a▁b', 0],
    ],
  },
};
const tokenizerOf = (json: unknown): Tokenizer => ({ eosId: 9, toJson: () => JSON.stringify(json) }) as Tokenizer;

test('special: ends of text, what the tokenizer marks, what its configuration names, what the chat template writes', () => {
  const tokenizer = tokenizerOf(file);
  expect(specialIds(folder, tokenizer, [7])).toEqual(new Set([10, 7, 9]));
  const template = '{% for m in messages %}<tool>{{ m.content }}   <|end|>{% endfor %}';
  const config = {
    bos_token: { content: '<|begin|>' },
    pad_token: '<pad>',
    add_bos_token: true,
    chat_template: template,
  };
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  expect(specialIds(folder, tokenizer, [7])).toEqual(new Set([10, 11, 12, 15, 7, 9]));
  writeFileSync(join(folder, 'tokenizer_config.json'), '{}');
  writeFileSync(join(folder, 'chat_template.jinja'), 'PHONE');
  expect(specialIds(folder, tokenizer, [])).toEqual(new Set([10, 14, 9]));
  writeFileSync(join(folder, 'tokenizer_config.json'), '{');
  expect(() => specialIds(folder, tokenizer, [])).toThrow(
    /tokenizer_config\.json is not valid JSON .*; fetch it again\.$/,
  );
});

test('tokens as people read them: spaces stay, half a character is its bytes', () => {
  expect(readableTokens(tokenizerOf(file), [0, 1, 2, 3, 10, 99])).toEqual(
    new Map([
      [0, ' the'],
      [1, '\\xE4'],
      [2, 'A'],
      [3, 'a b'],
      [99, '<99>'],
      [10, '<|begin|>'],
    ]),
  );
});

test('byte-level vocabularies, ours among them, are read through their alphabet', () => {
  const bytes = createTokenizer({ kind: 'bytes' }, []);
  const text = new Map(
    readableTokens(
      bytes,
      Array.from({ length: 257 }, (_, id) => id),
    ),
  );
  expect(['A', ' ', '\n'].map(character => text.get(character.charCodeAt(0)))).toEqual(['A', ' ', '\n']);
  expect([text.get(0xe4), text.get(256)]).toEqual(['\\xE4', '<|endoftext|>']);
  const words = [{ language: 'de', text: 'über über über Größe Größe 日本 日本 日本' }];
  const bpe = createTokenizer({ kind: 'bpe', vocabSize: 275 }, words);
  const ids = bpe.encode('über 日本 Größe');
  const read = readableTokens(bpe, ids);
  const joined = Array.from(ids, id => read.get(id)).join('');
  const bytesOf = joined.replace(/\\x([0-9A-F]{2})|[^\\]/gu, (part, hex?: string) =>
    hex ? String.fromCharCode(Number.parseInt(hex, 16)) : Buffer.from(part).toString('latin1'),
  );
  expect(Buffer.from(bytesOf, 'latin1').toString()).toBe('über 日本 Größe');
  expect([...read.values()].some(piece => /[üöß日本]/u.test(piece))).toBe(true);
  const overlong = tokenizerOf({ decoder: { type: 'ByteLevel' }, model: { vocab: { ÀĢ: 0, ðŁĺĢ: 1, ðŁ: 2 } } });
  expect([...readableTokens(overlong, [0, 1, 2]).values()]).toEqual(['\\xC0\\x80', '😀', '\\xF0\\x9F']);
});

test('what a model expects before every text is read off its tokenizer', () => {
  const kind = (name: string) =>
    loadTokenizer(join(import.meta.dirname, '..', '..', 'golden', 'tokenizer', 'kinds', `${name}.json`));
  const opening = (name: string): string[] => {
    const tokenizer = kind(name);
    return [...readableTokens(tokenizer, openingOf(tokenizer)).values()];
  };
  expect(opening('mistral')).toEqual(['<s>']);
  expect(opening('llama3')).toEqual(['<|begin_of_text|>']);
  expect(opening('qwen2')).toEqual([]);
  expect([...openingOf(createTokenizer({ kind: 'bytes' }, []))]).toEqual([]);
  const behind = {
    ...kind('qwen2'),
    encodePrompt: () => Int32Array.of(5, 9),
    encode: () => Int32Array.of(5),
  } as Tokenizer;
  expect([...openingOf(behind)]).toEqual([]); // an end behind the text is no opening
});
