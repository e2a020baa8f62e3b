// Tokenizers of the kinds that published models have (tests/golden/tokenizer/kinds.py) give the ids of Hugging Face's Python
// library: on article 25 of the Universal Declaration in 48 languages, a sentence in the other two of the fifty, and texts
// that trip tokenizers.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadTokenizer } from '../../../src/data/tokenizer/index.ts';
import { heldOutArticles, TRICKY } from './texts.ts';

const KINDS = join(import.meta.dirname, '..', '..', 'golden', 'tokenizer', 'kinds');
interface Golden {
  size: number;
  /** How many ids, and 16 digits of the SHA-256 of them with blanks between. */
  languages: Record<string, [number, string]>;
  decoded: Record<string, string>;
  prompt: number[];
  tricky: Record<string, number[]>;
}
const { kinds }: { kinds: Record<string, Golden> } = JSON.parse(readFileSync(join(KINDS, 'ids.json'), 'utf8'));
const articles = heldOutArticles();
const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

test('there are fifty languages', () => {
  expect(Object.keys(articles)).toHaveLength(50);
});

describe.each(Object.entries(kinds))('%s', (name, golden) => {
  const tokenizer = loadTokenizer(join(KINDS, `${name}.json`));
  const ids = (text: string): number[] => Array.from(tokenizer.encode(text));

  test('size and prompt', () => {
    expect(tokenizer.vocabSize).toBe(golden.size);
    expect(Array.from(tokenizer.encodePrompt('Hello'))).toEqual(golden.prompt);
  });

  test('fifty languages', () => {
    const found = Object.entries(articles).map(([code, text]) => {
      const row = ids(text);
      return [code, [row.length, digest(row.join(' '))]];
    });
    expect(Object.fromEntries(found)).toEqual(golden.languages);
  });

  test('and back to text', () => {
    const found = Object.entries(articles).map(([code, text]) => [code, digest(tokenizer.decode(ids(text)))]);
    expect(Object.fromEntries(found)).toEqual(golden.decoded);
  });

  test.each(Object.entries(TRICKY))('%s', (title, text) => {
    expect(ids(text)).toEqual(golden.tricky[title]);
  });
});

test.each(['llama2', 'mistral'])(
  '%s: a byte order mark has the right ids, but the library leaves it out of the text',
  name => {
    const tokenizer = loadTokenizer(join(KINDS, `${name}.json`));
    const ids = tokenizer.encode('a\ufeffb');
    expect(Array.from(ids.slice(-4, -1))).toEqual([0xef + 3, 0xbb + 3, 0xbf + 3]);
    expect(tokenizer.decode(ids)).toBe('ab');
  },
);
