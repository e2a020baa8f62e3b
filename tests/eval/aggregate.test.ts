import { describe, expect, it } from 'vitest';
import { aggregateLosses } from '../../src/eval/aggregate.ts';

const rows = [
  { code: 'en', family: 'Indo-European', nats: 300, tokens: 100, bytes: 400 },
  { code: 'hi', family: 'Indo-European', nats: 100, tokens: 20, bytes: 200 },
  { code: 'ja', family: 'Altaic', nats: 240, tokens: 60, bytes: 300 },
  { code: 'dgo', family: 'Indo-European', nats: 0, tokens: 0, bytes: 0 },
  { code: 'zz', family: 'None', nats: 0, tokens: 0, bytes: 0 },
];

describe('aggregated losses', () => {
  it('by hand: pooled over tokens, and the mean over languages', () => {
    const { byFamily, all, byLanguage, withoutText } = aggregateLosses(rows);
    expect(byLanguage.map(row => [row.code, row.loss])).toEqual([
      ['en', 3],
      ['hi', 5],
      ['ja', 4],
    ]);
    expect(Object.keys(byFamily)).toEqual(['Indo-European', 'Altaic']);
    expect(byFamily['Indo-European']).toMatchObject({ languages: 2, tokens: 120, bytes: 600, languageMean: 4 });
    expect(byFamily['Indo-European'].tokenWeighted).toBeCloseTo(400 / 120, 12);
    expect(all).toMatchObject({ languages: 3, tokens: 180, bytes: 900, languageMean: 4 });
    expect(all.tokenWeighted).toBeCloseTo(640 / 180, 12);
    expect(withoutText).toEqual(['dgo', 'zz']);
  });

  it('bits per byte: 300 nats over 400 bytes = 0.75 / ln 2 = 1.0820', () => {
    const { byLanguage, all } = aggregateLosses(rows);
    expect(byLanguage[0].bitsPerByte).toBeCloseTo(1.082021280667, 12);
    expect(all.bitsPerByte).toBeCloseTo(640 / 900 / Math.LN2, 12);
    expect(all.bitsPerByteMean).toBeCloseTo((0.75 + 0.5 + 0.8) / 3 / Math.LN2, 12);
  });

  it('no text at all gives NaN, not a number that looks good', () => {
    expect(aggregateLosses(rows.slice(3)).all.tokenWeighted).toBeNaN();
  });
});
