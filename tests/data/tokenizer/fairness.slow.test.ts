// The tax of each of the 48 languages on held-out articles, for BPE trained on the core corpus with three values of alpha.
import { describe, expect, it } from 'vitest';
import { loadCorpus } from '../../../src/data/corpus.ts';
import { fertility } from '../../../src/data/tokenizer/fertility.ts';
import { createTokenizer } from '../../../src/data/tokenizer/index.ts';
import { fiftyLanguages } from '../languages.ts';

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const spread = (values: number[]) => Math.max(...values) / Math.min(...values);

describe('fairness', () => {
  it('lowers the tax of the real languages on held-out articles', () => {
    const { documents } = loadCorpus(fiftyLanguages(), { allowMissing: true });
    const training = documents.filter(({ split }) => split === 'train');
    const heldOut = documents.filter(({ split, source }) => split !== 'train' && source === 'udhr');
    const [equal, mixed, plain] = [0, 0.3, 1].map(alpha => {
      const tokenizer = createTokenizer({ kind: 'bpe', vocabSize: 2048, alpha }, training);
      return fertility(tokenizer, heldOut).map(({ tax }) => tax);
    });
    expect(mean(equal)).toBeLessThan(mean(mixed));
    expect(mean(mixed)).toBeLessThan(mean(plain) - 0.05);
    // Between 0 and 0.3 the spread no longer differs by more than a percent or two: what is left is the scripts'.
    expect(spread(mixed)).toBeLessThan(0.9 * spread(plain));
    expect(spread(equal)).toBeLessThan(0.9 * spread(plain));
  });
});
