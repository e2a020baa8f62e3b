// Prints the tokenizer and the texts that make.py encodes.
import { createTokenizer } from '../../../src/data/tokenizer/index.ts';
import { declaration, TRICKY } from '../../data/tokenizer/texts.ts';

const texts = declaration();
const languages = [...new Set(texts.map(({ language }) => language))];
console.log(
  JSON.stringify({
    tokenizer: createTokenizer({ kind: 'bpe', vocabSize: 1024 }, texts).toJson(),
    tricky: TRICKY,
    declaration: Object.fromEntries(
      languages.map(code => [code, texts.filter(({ language }) => language === code).map(({ text }) => text)]),
    ),
  }),
);
