import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createTokenizer, loadTokenizer } from '../../../src/data/tokenizer/index.ts';
import { UserError } from '../../../src/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-tokenizer-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'tokenizer.json');
const save = (content: unknown) => {
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
};
/** A WordPiece tokenizer that somebody else made: `hello`, `world`, an end of text. */
const foreign = (added: object[] = [{ id: 3, content: '</s>', special: true }], more = {}) => ({
  version: '1.0',
  added_tokens: added,
  normalizer: { type: 'Lowercase' },
  pre_tokenizer: { type: 'WhitespaceSplit' },
  post_processor: null,
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    vocab: { '[UNK]': 0, hello: 1, world: 2 },
    max_input_chars_per_word: 100,
  },
  ...more,
});

describe('our own file', () => {
  const texts = [{ language: 'en', text: 'the cat sat on the mat that the rat had at hand' }];
  it.each([
    createTokenizer({ kind: 'bytes' }, []),
    createTokenizer({ kind: 'bpe', vocabSize: 270 }, texts),
    createTokenizer({ kind: 'bpe', vocabSize: 265, split: 'qwen2' }, texts),
  ])('comes back as what it was', tokenizer => {
    const back = loadTokenizer(save(tokenizer.toJson()));
    const functions = { encode: 0, encodePrompt: 0, decode: 0, toJson: 0 };
    expect({ ...back, ...functions }).toEqual({ ...tokenizer, ...functions });
    expect(back.toJson()).toBe(tokenizer.toJson());
    expect(back.encode('the rat, été 👍')).toEqual(tokenizer.encode('the rat, été 👍'));
    expect(back.encodePrompt('the rat')).toEqual(back.encode('the rat'));
  });
  it('still works when somebody changed it', () => {
    const file = JSON.parse(createTokenizer({ kind: 'bpe', vocabSize: 270 }, texts).toJson());
    file.added_tokens.push({ id: 270, content: '<|im_start|>', special: true });
    const back = loadTokenizer(save(file));
    expect(back).toMatchObject({ kind: 'file', vocabSize: 271, eosId: 269 });
    expect(back.decode(back.encode('<|im_start|>the hat'))).toBe('<|im_start|>the hat');
  });
});

describe('a foreign file', () => {
  it('is used through the library', () => {
    const tokenizer = createTokenizer({ kind: 'file', path: save(foreign()) }, []);
    expect(tokenizer).toMatchObject({ kind: 'file', vocabSize: 4, eosId: 3 });
    expect(Array.from(tokenizer.encode('Hello world moon'))).toEqual([1, 2, 0]);
    expect(tokenizer.decode([1, 2])).toBe('hello world');
    expect(tokenizer.decode([])).toBe('');
    expect(JSON.parse(tokenizer.toJson())).toEqual(foreign());
  });
  it('puts before a prompt what its model expects there', () => {
    const start = { SpecialToken: { id: '</s>', type_id: 0 } };
    const post_processor = {
      type: 'TemplateProcessing',
      single: [start, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [start, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '</s>': { id: '</s>', ids: [3], tokens: ['</s>'] } },
    };
    const tokenizer = loadTokenizer(save(foreign(undefined, { post_processor })));
    expect(Array.from(tokenizer.encodePrompt('hello'))).toEqual([3, 1]);
    expect(Array.from(tokenizer.encode('hello'))).toEqual([1]);
  });
  it('may name its end of text', () => {
    expect(createTokenizer({ kind: 'file', path: save(foreign()), eosToken: 'world' }, []).eosId).toBe(2);
  });
  it.each([
    ['no end of text', foreign([]), undefined, /has no end-of-text token \(looked for <\|endoftext\|> .*\): name one/],
    ['a wrong name for it', foreign(), '<end>', /has no end-of-text token \(looked for <end>\)/],
    [
      'a token for whole words',
      foreign([{ id: 3, content: '</s>', single_word: true }]),
      undefined,
      /has the token "<\/s>" for whole words only \(single_word\), which is not read/,
    ],
    ['not JSON', '{"model":', undefined, /is not JSON/],
    ['lines that are not JSON', '{\n  "model": BPE\n}\n', undefined, /is not JSON \(.*\): give/],
    ['JSON of another kind', '[]', undefined, /has no "model"/],
    ['null', 'null', undefined, /has no "model"/],
    [
      'an unknown pre-tokenizer',
      foreign([], { pre_tokenizer: { type: 'New' } }),
      undefined,
      /cannot be used .*Unknown PreTokenizer type: New/,
    ],
    ['an unknown model', foreign([], { model: { type: 'New' } }), undefined, /cannot be used as a tokenizer/],
    [
      'a model without vocabulary',
      foreign([], { model: { type: 'BPE', merges: [] } }),
      undefined,
      /cannot be used as a tokenizer/,
    ],
    [
      'merges of nonsense',
      foreign([], { model: { type: 'BPE', vocab: {}, merges: [5, null] } }),
      undefined,
      /cannot be used/,
    ],
  ])('with %s is refused in one sentence', (_, content, eos, message) => {
    const load = () => loadTokenizer(save(content), eos);
    expect(load).toThrow(UserError);
    expect(load).toThrow(message);
    expect(load).toThrow(path);
    expect(load).not.toThrow(/\n/);
  });
  it('that is not there is refused', () => {
    expect(() => loadTokenizer(join(folder, 'absent.json'))).toThrow(
      /cannot read the tokenizer .*absent.json \(ENOENT\): check/,
    );
  });
});
