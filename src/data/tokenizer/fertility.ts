// How many tokens a language pays for the same content: fertility (tokens per byte, per word) and "tax", the tokens of a
// language's parallel texts over the tokens of the same items in a reference language (Petrov et al. 2023, arXiv:2305.15425).
import type { Tokenizer } from '../types.ts';

/** One parallel text: the same `item` in several languages. A Document is one. */
export interface ParallelText {
  language: string;
  item: string;
  text: string;
}
export interface FertilityRow {
  language: string;
  /** UTF-8 bytes and white-space separated words of the NFC text. Thai, Lao, Chinese and Japanese hardly use spaces. */
  bytes: number;
  words: number;
  tokens: number;
  tokensPerByte: number;
  tokensPerWord: number;
  /** Over the items that the reference language has too; NaN where there are none. */
  tax: number;
}

/** One row per language, in order of first appearance. */
export function fertility(tokenizer: Tokenizer, texts: readonly ParallelText[], reference = 'en'): FertilityRow[] {
  const counted = texts.map(({ language, item, text }) => ({
    language,
    item,
    ...count(tokenizer, text.normalize('NFC')),
  }));
  const referenceTokens = sumByItem(counted.filter(({ language }) => language === reference));
  const languages = [...new Set(counted.map(({ language }) => language))];
  return languages.map(language => {
    const own = counted.filter(row => row.language === language);
    const [bytes, words, tokens] = (['bytes', 'words', 'tokens'] as const).map(key =>
      own.reduce((s, row) => s + row[key], 0),
    );
    return {
      language,
      bytes,
      words,
      tokens,
      tokensPerByte: tokens / bytes,
      tokensPerWord: tokens / words,
      tax: taxOf(own),
    };
  });

  function taxOf(own: typeof counted): number {
    const shared = [...sumByItem(own)].filter(([item]) => referenceTokens.has(item));
    const paid = shared.reduce((sum, [, tokens]) => sum + tokens, 0);
    return paid / shared.reduce((sum, [item]) => sum + referenceTokens.get(item)!, 0);
  }
}

const count = (tokenizer: Tokenizer, text: string) => ({
  bytes: Buffer.byteLength(text),
  words: text.match(/\S+/g)?.length ?? 0,
  tokens: tokenizer.encode(text).length,
});

function sumByItem(rows: readonly { item: string; tokens: number }[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { item, tokens } of rows) sums.set(item, (sums.get(item) ?? 0) + tokens);
  return sums;
}
