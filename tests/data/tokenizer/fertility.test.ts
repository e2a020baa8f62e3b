import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { fertility } from '../../../src/data/tokenizer/fertility.ts';
import { createTokenizer } from '../../../src/data/tokenizer/index.ts';

describe('fertility', () => {
  const bytes = createTokenizer({ kind: 'bytes' }, []);
  it('of plain bytes by hand', () => {
    const texts = [
      { language: 'en', item: '1', text: 'one two' },
      { language: 'en', item: '2', text: 'three' },
      { language: 'lo', item: '1', text: 'ໜຶ່ງ ສອງ' },
      { language: 'ilo', item: '3', text: 'maysa' },
    ];
    const [en, lo, ilo] = fertility(bytes, texts);
    expect(en).toEqual({ language: 'en', bytes: 12, words: 3, tokens: 12, tokensPerByte: 1, tokensPerWord: 4, tax: 1 });
    expect(lo).toMatchObject({ bytes: 22, words: 2, tokensPerWord: 11, tax: 22 / 7 });
    expect(ilo.tax).toBeNaN();
  });
});

const spread = (values: number[]) => Math.max(...values) / Math.min(...values);

describe('fairness', () => {
  it('grows as alpha falls, for three languages that differ only in letters and in size (1, 10, 100)', () => {
    const random = seedrandom('fairness');
    const draw = (n: number) => Math.floor(random() * n);
    const words = Array.from({ length: 200 }, () =>
      String.fromCharCode(...Array.from({ length: 3 + draw(5) }, () => 97 + draw(8))),
    );
    // Half of the draws fall on a tenth of the words, as in real text.
    const sentence = () => Array.from({ length: 20 }, () => words[draw(2) ? draw(20) : draw(200)]).join(' ');
    const inLetters = (language: number, text: string) =>
      text.replace(/[a-h]/g, c => String.fromCharCode(c.charCodeAt(0) + 8 * language));
    const training = [10, 100, 1000].flatMap((size, language) =>
      Array.from({ length: size }, () => ({ language: `${language}`, text: inLetters(language, sentence()) })),
    );
    const parallel = Array.from({ length: 30 }, sentence).flatMap((text, i) =>
      [0, 1, 2].map(language => ({ language: `${language}`, item: `${i}`, text: inLetters(language, text) })),
    );
    const taxes = [0, 0.3, 0.6, 1].map(alpha => {
      const tokenizer = createTokenizer({ kind: 'bpe', vocabSize: 500, alpha }, training);
      return spread(fertility(tokenizer, parallel, '2').map(({ tax }) => tax));
    });
    expect(taxes[0]).toBeLessThan(1.2);
    for (let i = 1; i < taxes.length; i++) expect(taxes[i]).toBeGreaterThan(taxes[i - 1]);
  });
});
