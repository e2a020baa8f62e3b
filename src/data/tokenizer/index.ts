// The tokenizer that a configuration asks for: learned from the corpus, plain bytes, or a file.
import { UserError } from '../../errors.ts';
import type { Tokenizer } from '../types.ts';
import type { SplitName } from './byte-level.ts';
import { byteLevelTokenizer } from './byte-level-tokenizer.ts';
import { bytesTokenizer } from './bytes.ts';
import type { LanguageText } from './count.ts';
import { countWords } from './count.ts';
import { loadTokenizer } from './file.ts';
import { trainBpe } from './train-bpe.ts';

export { loadTokenizer } from './file.ts';

export type TokenizerOptions =
  | { kind: 'bytes' }
  | { kind: 'file'; path: string; eosToken?: string }
  | {
      kind: 'bpe';
      /** All ids: 256 bytes, the merges and EOS. */
      vocabSize: number;
      /** Fairness: a language of b bytes has weight b^alpha in all. 0 every language equal, 1 the corpus as it is. Default 0.3. */
      alpha?: number;
      /** Where words end (byte-level.ts). Default `marks`. */
      split?: SplitName;
    };

/**
 * Makes the tokenizer. `corpusTexts` is what BPE learns from: pass the training split only.
 * Errors (UserError): a vocabulary below 257 or larger than the text yields, a negative alpha, a file that cannot be used.
 */
export function createTokenizer(options: TokenizerOptions, corpusTexts: readonly LanguageText[]): Tokenizer {
  if (options.kind === 'bytes') return bytesTokenizer();
  if (options.kind === 'file') return loadTokenizer(options.path, options.eosToken);
  const { vocabSize, alpha = 0.3, split = 'marks' } = options;
  if (!Number.isInteger(vocabSize) || vocabSize < 257) {
    throw new UserError(
      `tokenizer.vocab_size is ${vocabSize}: give a whole number of at least 257 (256 bytes and the end of text)`,
    );
  }
  if (!(alpha >= 0 && alpha <= 1)) {
    throw new UserError(`tokenizer.alpha is ${alpha}: give 0 (every language equal) to 1 (the corpus as it is)`);
  }
  const merges = trainBpe(countWords(corpusTexts, split, alpha), vocabSize - 257);
  return byteLevelTokenizer('bpe', { split, merges });
}
