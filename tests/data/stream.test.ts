// The training stream: shares kept, epochs whole, order a function of the seed, and the cursor restored to the bit.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openStream, type StreamOptions } from '../../src/data/stream.ts';
import type { Batch, BatchStream, TokenDocument } from '../../src/data/types.ts';
import { UserError } from '../../src/errors.ts';
import { tokenDocuments } from './languages.ts';

const documents = tokenDocuments(
  Array.from({ length: 90 }, (_, i) => 5 + ((i * 17) % 41)),
  i => i % 3,
);
const share_G = Float64Array.of(0.5, 0.3, 0.2);
const settings = (seed: string | number = 1, more: Partial<StreamOptions> = {}): StreamOptions => ({
  ...{ batch: 4, sequence: 32, padId: 0, packing: 'isolated', order: { share_G, seed }, ...more },
});
const take = (stream: BatchStream, count: number): Batch[] => Array.from({ length: count }, () => stream.next());
const throughJson = (stream: BatchStream) => JSON.parse(JSON.stringify(stream.state()));

describe('openStream', () => {
  it('reads each language in its share of tokens', () => {
    const counts = [0, 0, 0];
    for (const { language_BS } of take(openStream(documents, settings()), 2000))
      for (const language of language_BS) if (language >= 0) counts[language]++;
    const total = counts[0] + counts[1] + counts[2];
    for (const [g, share] of share_G.entries()) expect(Math.abs(counts[g] / total - share)).toBeLessThan(0.002);
  });

  it('holds the languages in proportion in every stretch, not only in the long run', () => {
    const stream = openStream(documents, settings());
    for (let stretch = 0; stretch < 20; stretch++) {
      const counts = [0, 0, 0];
      for (const { language_BS } of take(stream, 40)) for (const g of language_BS) if (g >= 0) counts[g]++;
      const total = counts[0] + counts[1] + counts[2];
      for (const [g, share] of share_G.entries()) expect(Math.abs(counts[g] / total - share)).toBeLessThan(0.04);
    }
  });

  it('reads every document of a language once before any twice', () => {
    const stream = openStream(documents, settings(1, { order: { share_G: Float64Array.of(1, 0, 0), seed: 4 } }));
    const starts = new Map(documents.map(({ ids }, index) => [ids[0], index]));
    const firsts: number[] = [];
    while (firsts.length < 60)
      for (const id of stream.next().inputId_BS) if (starts.has(id)) firsts.push(starts.get(id)!);
    // 30 documents of language 0; passing over while packing may swap neighbours across the border of two epochs.
    expect(new Set(firsts.slice(0, 45)).size).toBe(30);
    expect(firsts.every(index => documents[index].language === 0)).toBe(true);
  });

  it('is a function of the seed', () => {
    expect(take(openStream(documents, settings(7)), 20)).toEqual(take(openStream(documents, settings(7)), 20));
    expect(take(openStream(documents, settings(7)), 20)).not.toEqual(take(openStream(documents, settings(8)), 20));
    const alone = (seed: number) => settings(seed, { order: { share_G: Float64Array.of(0, 1, 0), seed } });
    expect(take(openStream(documents, alone(7)), 5)).not.toEqual(take(openStream(documents, alone(8)), 5));
  });

  it('goes on with the same bits from a cursor that went through JSON, wherever it stood', () => {
    const list = Array.from(documents.keys()).reverse();
    const order = fc.constantFrom<StreamOptions['order']>({ share_G, seed: 3 }, { list });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 8, max: 48 }),
        order,
        (before, sequence, chosen) => {
          const how = settings(3, { sequence, order: chosen, packing: sequence % 2 ? 'isolated' : 'concatenated' });
          const unbroken = openStream(documents, how);
          take(unbroken, before);
          const cursor = throughJson(unbroken);
          const restored = openStream(documents, how, cursor);
          expect(throughJson(restored)).toEqual(cursor);
          expect(take(restored, 40)).toEqual(take(unbroken, 40));
          expect(throughJson(restored)).toEqual(throughJson(unbroken));
        },
      ),
      { numRuns: 40 },
    );
  });

  it('a list is read in its order, over and over', () => {
    const few = tokenDocuments([2, 2, 2]);
    const stream = openStream(few, settings(0, { batch: 1, sequence: 2, order: { list: [2, 0, 0, 1] } }));
    expect(take(stream, 6).map(({ document_BS }) => document_BS[0])).toEqual([2, 0, 0, 1, 2, 0]);
  });

  it('refuses a cursor of other data or settings, and an empty corpus', () => {
    const cursor = throughJson(openStream(documents, settings()));
    const changed: TokenDocument[] = documents.map(each => ({ ...each, ids: Int32Array.from(each.ids) }));
    changed[40].ids[3]++;
    expect(() => openStream(changed, settings(), cursor)).toThrow(UserError);
    expect(() => openStream(documents, settings(2), cursor)).toThrow(/the data has changed since the checkpoint/);
    expect(() => openStream(documents, settings(1, { sequence: 16 }), cursor)).toThrow(/has changed/);
    expect(() => openStream(documents, settings(), { step: 4 })).toThrow(/not one this version wrote/);
    expect(() => openStream([], settings())).toThrow(/no training document/);
  });
});
