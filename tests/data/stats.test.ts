// Counts of a small corpus worked by hand.
import { describe, expect, it } from 'vitest';
import { corpusStats, statsTable } from '../../src/data/stats.ts';
import type { Tokenizer } from '../../src/data/types.ts';
import { document, language } from './languages.ts';

const languages = [language('en'), language('fr', 'Latn', 1), language('doi', 'Deva', 2), language('co', 'Latn', 3)];
const documents = [
  document('en', 'udhr/1', 'abcd'),
  document('en', 'udhr/2', 'ab', { domain: 'medical', split: 'test' }),
  document('en', 'mine/1', 'ab'),
  document('fr', 'udhr/1', 'éèé', { split: 'train' }),
  document('fr', 'udhr/3', 'zzzzz', { split: 'validation' }),
  document('doi', 'intl/a', 'क'),
];
const letters: Tokenizer = {
  ...{ kind: 'bytes', vocabSize: 2, eosId: 1, decode: () => '', toJson: () => '' },
  encode: text => new Int32Array([...text].length),
  encodePrompt: text => new Int32Array([...text].length),
};

describe('corpusStats', () => {
  const [en, fr, doi, co] = corpusStats(documents, languages, letters);

  it('counts bytes, documents, splits, sources and the medical share', () => {
    expect(en).toMatchObject({ code: 'en', documents: 3, bytes: 8, medical: 0.25, zeroText: false });
    expect(en.bytesBySource).toEqual({ udhr: 6, mine: 2 });
    expect(en.bytesBySplit).toEqual({ train: 6, validation: 0, test: 2 });
    expect(fr.bytesBySplit).toEqual({ train: 6, validation: 5, test: 0 });
    expect(fr.documentsBySplit).toEqual({ train: 1, validation: 1, test: 0 });
  });

  it('counts tokens, and the tax over common items of the most shared source only', () => {
    expect([en.tokens, en.bytesPerToken, en.tax]).toEqual([8, 1, 1]);
    expect([fr.tokens, fr.bytesPerToken, fr.tax]).toEqual([8, 11 / 8, 3 / 4]);
    expect(corpusStats(documents, languages)[1]).toMatchObject({ tokens: null, bytesPerToken: null, tax: null });
  });

  it('marks languages without running text', () => {
    expect(doi).toMatchObject({ zeroText: true, bytes: 3, tax: null });
    expect(co).toMatchObject({ zeroText: true, bytes: 0, medical: 0, tokens: 0, bytesPerToken: null });
  });

  it('makes a table with a row per language', () => {
    const table = statsTable([en, fr, doi, co]);
    expect(table[0]).toContain('mine');
    expect(new Set(table.map(row => row.length)).size).toBe(1);
    expect(table[3][1]).toBe('Language doi (zero-text)');
  });
});
