// Packing by hand and by property: every token once, the label rule, isolation, language ids of the own document.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchesOf, type PackOptions } from '../../src/data/pack.ts';
import type { Batch, TokenDocument } from '../../src/data/types.ts';
import { tokenDocuments } from './languages.ts';

const options = (batch: number, sequence: number, packing: PackOptions['packing'] = 'isolated'): PackOptions => ({
  ...{ batch, sequence, packing, padId: 0 },
});
const pack = (documents: TokenDocument[], settings: PackOptions): Batch[] => [...batchesOf(documents, settings)];

describe('packing by hand', () => {
  // Ids 1 2 3 | 4 5 | 6 7 8 9 10 11 12 in rows of 4. The last is cut into 6 7 8 9 and 10 11 12.
  const documents = tokenDocuments([3, 2, 7], i => i + 5);

  it('isolated', () => {
    const [batch, ...more] = pack(documents, options(4, 4));
    expect(more).toEqual([]);
    expect([...batch.inputId_BS]).toEqual([1, 2, 3, 0, 4, 5, 0, 0, 6, 7, 8, 9, 10, 11, 12, 0]);
    // 9 → 10 is learnt across the cut; 3, 5 and 12 end their documents.
    expect([...batch.label_BS]).toEqual([2, 3, -100, -100, 5, -100, -100, -100, 7, 8, 9, 10, 11, 12, -100, -100]);
    expect([...batch.position_BS]).toEqual([0, 1, 2, 0, 0, 1, 0, 0, 0, 1, 2, 3, 0, 1, 2, 0]);
    expect([...batch.segment_BS]).toEqual([0, 0, 0, -1, 1, 1, -1, -1, 2, 2, 2, 2, 3, 3, 3, -1]);
    expect([...batch.document_BS]).toEqual([0, 0, 0, -1, 1, 1, -1, -1, 2, 2, 2, 2, 2, 2, 2, -1]);
    expect([...batch.language_BS]).toEqual([5, 5, 5, -1, 6, 6, -1, -1, 7, 7, 7, 7, 7, 7, 7, -1]);
  });

  it('concatenated: positions run on and a row is one segment', () => {
    const [batch] = pack(tokenDocuments([2, 1, 3]), options(2, 4, 'concatenated'));
    expect([...batch.inputId_BS]).toEqual([1, 2, 3, 0, 4, 5, 6, 0]);
    expect([...batch.position_BS]).toEqual([0, 1, 2, 0, 0, 1, 2, 0]);
    expect([...batch.segment_BS]).toEqual([0, 0, 0, -1, 1, 1, 1, -1]);
    expect([...batch.label_BS]).toEqual([2, -100, -100, -100, 5, 6, -100, -100]);
  });

  it('a window without room waits and comes first in the next batch; a smaller one may pass it', () => {
    const [first, second] = pack(tokenDocuments([3, 4, 1]), options(1, 4));
    expect([...first.inputId_BS]).toEqual([1, 2, 3, 8]);
    expect([...second.inputId_BS]).toEqual([4, 5, 6, 7]);
    const [strict] = pack(tokenDocuments([3, 4, 1]), options(1, 4, 'concatenated'));
    expect([...strict.inputId_BS]).toEqual([1, 2, 3, 0]);
  });

  it('only what is to be learnt has labels', () => {
    const documents = tokenDocuments([5]);
    documents[0].learn = Uint8Array.of(0, 0, 1, 0, 1);
    const [batch] = pack(documents, options(1, 6));
    expect([...batch.label_BS]).toEqual([-100, 3, -100, 5, -100, -100]);
  });
});

describe('packing, always', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 60 });
  const shape = fc.record({
    batch: fc.integer({ min: 1, max: 5 }),
    sequence: fc.integer({ min: 1, max: 24 }),
    packing: fc.constantFrom('isolated' as const, 'concatenated' as const),
  });

  it('loses no token and doubles none; each id but the first of a document is a label exactly once', () => {
    fc.assert(
      fc.property(lengths, shape, (sizes, { batch, sequence, packing }) => {
        const documents = tokenDocuments(sizes, i => i % 7);
        const inputs: number[] = [];
        const labels: number[] = [];
        for (const each of pack(documents, options(batch, sequence, packing))) {
          inputs.push(...each.inputId_BS.filter((_, i) => each.document_BS[i] >= 0));
          labels.push(...each.label_BS.filter(label => label !== -100));
        }
        const all = documents.flatMap(({ ids }) => [...ids]);
        expect(inputs.sort((a, b) => a - b)).toEqual(all);
        expect(labels.sort((a, b) => a - b)).toEqual(documents.flatMap(({ ids }) => [...ids.slice(1)]));
      }),
    );
  });

  it('labels follow the own document, padding is marked everywhere, languages are those of the document', () => {
    fc.assert(
      fc.property(lengths, shape, (sizes, { batch, sequence, packing }) => {
        const documents = tokenDocuments(sizes, i => i % 7);
        for (const each of pack(documents, options(batch, sequence, packing))) {
          for (let i = 0; i < batch * sequence; i++) {
            const owner = documents[each.document_BS[i]];
            if (owner === undefined) {
              const marks = [
                each.inputId_BS[i],
                each.label_BS[i],
                each.language_BS[i],
                each.segment_BS[i],
                each.position_BS[i],
              ];
              expect(marks).toEqual([0, -100, -1, -1, 0]);
              continue;
            }
            const at = owner.ids.indexOf(each.inputId_BS[i]);
            expect(at).toBeGreaterThanOrEqual(0);
            expect(each.label_BS[i]).toBe(owner.ids[at + 1] ?? -100);
            expect(each.language_BS[i]).toBe(owner.language);
            expect(each.position_BS[i]).toBe(packing === 'isolated' ? at % sequence : i % sequence);
          }
        }
      }),
    );
  });

  it('isolated: a segment is one stretch of one document in one row, padding only at the end of rows', () => {
    fc.assert(
      fc.property(lengths, shape, (sizes, { batch, sequence }) => {
        for (const each of pack(tokenDocuments(sizes), options(batch, sequence))) {
          const home = new Map<number, string>();
          for (let i = 0; i < batch * sequence; i++) {
            const segment = each.segment_BS[i];
            const column = i % sequence;
            if (segment < 0) {
              if (column + 1 < sequence) expect(each.segment_BS[i + 1]).toBe(-1);
              continue;
            }
            const place = `${each.document_BS[i]} in ${Math.floor(i / sequence)} from ${column - each.position_BS[i]}`;
            expect(home.get(segment) ?? place).toBe(place);
            home.set(segment, place);
          }
        }
      }),
    );
  });
});
