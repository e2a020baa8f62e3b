import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentSizes, countWords, languageWeights } from '../../../src/data/tokenizer/count.ts';

describe('weights of languages', () => {
  const content = new Map([
    ['big', 400],
    ['small', 100],
    ['none', 0],
  ]);
  it('are n^(α−1): by hand 1, 1/2, 1/4 of the small one for 4 times the content', () => {
    const ratio = (alpha: number) => languageWeights(content, alpha).get('big')! / 2 ** 20;
    expect([ratio(1), ratio(0.5), ratio(0)]).toEqual([1, 0.5, 0.25]);
    expect(languageWeights(content, 0.3).get('small')).toBe(2 ** 20);
    expect(languageWeights(content, 0).has('none')).toBe(false);
  });
  it('give each language n^α in all, to one part in a thousand', () => {
    const size = fc.integer({ min: 1_000, max: 1_000_000 });
    fc.assert(
      fc.property(size, size, fc.double({ min: 0, max: 1, noNaN: true }), (a, b, alpha) => {
        const weights = languageWeights(new Map(Object.entries({ a, b })), alpha);
        const ratio = (a * weights.get('a')!) / (b * weights.get('b')!);
        expect(Math.abs(ratio / (a / b) ** alpha - 1)).toBeLessThan(1e-3);
      }),
    );
  });
});

describe('content', () => {
  const text = (language: string, item: string | undefined, bytes: number) => ({
    language,
    item,
    text: 'x'.repeat(bytes),
  });
  it('is bytes over byte premium: 30 shared bytes for 10 make 3', () => {
    const texts = [
      text('en', 'i', 10),
      text('en', 'j', 50),
      text('lo', 'i', 30),
      text('lo', undefined, 60),
      text('doi', 'k', 5),
    ];
    expect([...contentSizes(texts)]).toEqual([
      ['en', 60],
      ['lo', 30],
      ['doi', 5],
    ]);
  });
});

describe('countWords', () => {
  it('counts NFC pre-tokens by weight, in any order of the texts', () => {
    const texts = [
      { language: 'a', text: 'no no yes' },
      { language: 'b', text: 'oui e\u0301te\u0301 no' },
    ];
    const [a, b] = [2 ** 20, (2 ** 20 * 9) / 12];
    const expected = [
      { word: ' no', weight: a + b },
      { word: ' yes', weight: a },
      { word: ' été', weight: b },
      { word: 'no', weight: a },
      { word: 'oui', weight: b },
    ];
    expect(countWords(texts, 'marks', 0)).toEqual(expected);
    expect(countWords([...texts].reverse(), 'marks', 0)).toEqual(expected);
  });
});
