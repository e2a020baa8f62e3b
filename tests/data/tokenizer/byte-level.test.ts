// Our encoder against @huggingface/tokenizers on the same file, round trips, and the shape of the vocabulary.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BYTE_TO_CHARACTER, byteLevelJson, splitter } from '../../../src/data/tokenizer/byte-level.ts';
import { createTokenizer } from '../../../src/data/tokenizer/index.ts';
import type { Tokenizer } from '../../../src/data/types.ts';
import { UserError } from '../../../src/errors.ts';
import { declaration, TRICKY } from './texts.ts';

const texts = declaration();
const learned = createTokenizer({ kind: 'bpe', vocabSize: 1024 }, texts);
const tokenizers: [string, Tokenizer][] = [
  ['bpe', learned],
  ['bpe with the split of Qwen2', createTokenizer({ kind: 'bpe', vocabSize: 700, split: 'qwen2', alpha: 1 }, texts)],
  ['bytes', createTokenizer({ kind: 'bytes' }, [])],
];
const anyText = fc.string({ unit: 'binary', maxLength: 40 });
const richText = fc
  .array(fc.constantFrom(...Object.values(TRICKY)), { maxLength: 3 })
  .chain(parts => anyText.map(more => parts.join(more)));

describe.each(tokenizers)('%s', (_, tokenizer) => {
  const library = new HuggingFaceTokenizer(JSON.parse(tokenizer.toJson()), {});
  const libraryIds = (text: string): number[] => library.encode(text, { add_special_tokens: false }).ids;

  it('gives the ids of the library in all 48 languages', () => {
    const some = texts.filter((_, i) => tokenizer === learned || i % 13 === 0);
    expect(new Set(some.map(text => text.language)).size).toBeGreaterThan(40);
    for (const { text } of some) expect(Array.from(tokenizer.encode(text))).toEqual(libraryIds(text));
  });
  it.each(Object.entries(TRICKY))('gives the ids of the library for %s', (_, text) => {
    expect(Array.from(tokenizer.encode(text))).toEqual(libraryIds(text));
  });
  it('gives the ids of the library for any text', () => {
    fc.assert(
      fc.property(richText, text => {
        expect(Array.from(tokenizer.encode(text))).toEqual(libraryIds(text));
      }),
    );
  });
  it('decodes what it encodes to NFC', () => {
    expect(tokenizer.decode(tokenizer.encode('\ufeffa'))).toBe('\ufeffa');
    for (const { text } of texts) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.normalize('NFC'));
    fc.assert(
      fc.property(anyText, text => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.normalize('NFC'));
      }),
    );
  });
  it('has every byte as its own id and the end of text as its last', () => {
    const file = JSON.parse(tokenizer.toJson());
    expect(BYTE_TO_CHARACTER.map(character => file.model.vocab[character])).toEqual([...Array(256).keys()]);
    expect(Object.keys(file.model.vocab).length + 1).toBe(tokenizer.vocabSize);
    expect(file.added_tokens).toMatchObject([{ id: tokenizer.vocabSize - 1, content: '<|endoftext|>', special: true }]);
    expect(tokenizer.eosId).toBe(tokenizer.vocabSize - 1);
    expect(tokenizer.decode([tokenizer.eosId])).toBe('<|endoftext|>');
    expect(() => tokenizer.decode([tokenizer.vocabSize])).toThrow(UserError);
  });
  it('decodes any ids, even a character cut in two', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(tokenizer.vocabSize - 1)), ids => {
        expect(tokenizer.decode(ids)).toBeTypeOf('string');
      }),
    );
    expect(tokenizer.decode([0xe0, 0xb8])).toBe('\ufffd');
  });
});

describe('the cut into words', () => {
  it.each(['none', 'marks', 'qwen2'] as const)('loses nothing (%s)', split => {
    fc.assert(
      fc.property(richText, text => {
        expect(splitter(split)(text).join('')).toBe(text);
      }),
    );
  });
  it('keeps vowel signs with their letters and elided articles with their nouns, where Qwen2 does not', () => {
    expect(splitter('marks')(TRICKY.Hindi)).toEqual(['चिकित्सा', ' देखभाल', ' का', ' अधिकार']);
    expect(splitter('qwen2')('चिकित्सा')).toEqual(['च', 'िक', 'ित', '्स', 'ा']);
    expect(splitter('marks')("l'ministre")).toEqual(['l', "'ministre"]);
    expect(splitter('qwen2')("l'ministre")).toEqual(['l', "'m", 'inistre']);
  });
  it.each(['marks', 'qwen2'] as const)('is where the library cuts by the same file (%s)', split => {
    const file = byteLevelJson({ split, merges: [] });
    const { pre_tokenizer: library } = new HuggingFaceTokenizer(JSON.parse(file), {});
    const pieces = (text: string) =>
      splitter(split)(text).map(piece => Array.from(Buffer.from(piece), byte => BYTE_TO_CHARACTER[byte]).join(''));
    // U+0085 is white space and U+FEFF is not, which JavaScript's \s sees the other way round.
    for (const text of ['\ufeff!', '\u0085!', ...Object.values(TRICKY)]) expect(pieces(text)).toEqual(library(text));
    fc.assert(
      fc.property(richText, text => {
        expect(pieces(text)).toEqual(library(text));
      }),
    );
  });
});

describe('the learned vocabulary', () => {
  it('has exactly the size asked for', () => {
    for (const vocabSize of [257, 258, 600]) {
      expect(createTokenizer({ kind: 'bpe', vocabSize }, texts).vocabSize).toBe(vocabSize);
    }
    expect(() => createTokenizer({ kind: 'bpe', vocabSize: 256 }, texts)).toThrow('tokenizer.vocab_size is 256');
    expect(() => createTokenizer({ kind: 'bpe', vocabSize: 300, alpha: -1 }, texts)).toThrow('tokenizer.alpha is -1');
  });
  it('does not depend on the order of the texts', () => {
    const again = createTokenizer({ kind: 'bpe', vocabSize: 1024 }, [...texts].reverse());
    expect(again.toJson()).toBe(learned.toJson());
  });
  it('gives the ids that the Python library gave', () => {
    // Made by tests/golden/tokenizer/make.py with tokenizers 0.23.
    const golden = JSON.parse(readFileSync(new URL('../../golden/tokenizer/ids.json', import.meta.url), 'utf8'));
    expect(createHash('sha256').update(learned.toJson()).digest('hex')).toBe(golden.tokenizer);
    const ids = Object.entries(TRICKY).map(([name, text]) => [name, Array.from(learned.encode(text))]);
    expect(Object.fromEntries(ids)).toEqual(golden.ids);
    const languages = [...new Set(texts.map(text => text.language))];
    const hash = (language: string) => {
      const digest = createHash('sha256');
      for (const { text } of texts.filter(text => text.language === language)) {
        digest.update(`${learned.encode(text).join(' ')}\n`);
      }
      return digest.digest('hex').slice(0, 16);
    };
    expect(Object.fromEntries(languages.map(language => [language, hash(language)]))).toEqual(golden.sha256);
  });
});
