// Language rows and the usage table made of them: by hand, and against the slots they were counted from.
import { expect, it } from 'vitest';
import type { DocumentCounts } from '../../analysis/document-counts.ts';
import { everyDocument, languageRows } from '../../analysis/rows.ts';
import { rowsToUsage } from '../../analysis/rows-to-usage.ts';
import { shareRows } from '../../analysis/usage.ts';
import { UserError } from '../../src/errors.ts';
import { simulatedHeader } from '../helpers/simulate.ts';

// Tokens {0,1}, {0,2} in document 0 and {0,1} in document 1, both of language 0; language 1 has two tokens {2,1}; language 2 none.
const counts: DocumentCounts = {
  document: Int32Array.of(0, 1, 2),
  language: Int32Array.of(0, 0, 1),
  item: Int32Array.of(0, 1, 0),
  items: 2,
  tokens: Float64Array.of(2, 1, 2),
  count: [Float32Array.of(2, 1, 1, 1, 1, 0, 0, 2, 2)],
  gate: [Float32Array.of(1.25, 0.25, 0.5, 0.75, 0.25, 0, 0, 0.5, 1.5)],
  softmax: [Float32Array.of(0.5, 0.25, 0.25, 0.75, 0.125, 0.125, 0, 0.25, 0.75)],
  dropped: { special: 0, first: 0 },
};
const header = simulatedHeader(3, 1, 3, 2, 1);
const close = (values: ArrayLike<number>, expected: number[]) => {
  expect(values.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(values[i]).toBeCloseTo(value, 12);
};
const row = (view: 'selection' | 'gate' | 'softmax', averaging: 'documents' | 'tokens', language = 0) =>
  languageRows(counts, view, averaging, header).q.subarray(3 * language, 3 * language + 3);

it('tokens pooled: counts 3, 2, 1 of 6; documents first: mean of [2 1 1]/4 and [1 1 0]/2', () => {
  close(row('selection', 'tokens'), [0.5, 1 / 3, 1 / 6]);
  close(row('selection', 'documents'), [0.5, 0.375, 0.125]);
  close(row('selection', 'documents', 1), [0, 0.5, 0.5]);
});
it('gate and softmax views: tokens weigh documents of the softmax view', () => {
  close(row('gate', 'tokens'), [2 / 3, 0.5 / 3, 0.5 / 3]);
  close(row('gate', 'documents'), [0.6875, 0.1875, 0.125]);
  close(row('softmax', 'documents'), [0.625, 0.1875, 0.1875]);
  close(row('softmax', 'tokens'), [1.75 / 3, 0.625 / 3, 0.625 / 3]);
});
it('leaves a language without tokens absent, and one that a layer dropped', () => {
  expect([...languageRows(counts, 'selection', 'documents', header).present]).toEqual([1, 1, 0]);
  const lost = { ...counts, count: [counts.count[0].map((slots, i) => (i < 6 ? slots : 0))] };
  expect([...languageRows(lost, 'selection', 'documents', header).present]).toEqual([1, 0, 0]);
  expect([...languageRows(counts, 'selection', 'documents').present]).toEqual([1, 1]);
});
it('says that a trace has no softmax', () => {
  expect(() => languageRows({ ...counts, softmax: null }, 'softmax', 'documents', header)).toThrow(UserError);
});
it('as a usage table: a = k q, tokens and documents beside it, null for the absent language', () => {
  const table = rowsToUsage(languageRows(counts, 'selection', 'tokens', header), counts, header);
  close(shareRows(table, 0).get('l00')!, [0.5, 1 / 3, 1 / 6]);
  close(shareRows(table, 0, 'tokenShare').get('l00')!, [1, 2 / 3, 1 / 3]);
  expect(shareRows(table, 0).get('l02')).toBeNull();
  expect(table.objects()[0]).toMatchObject({ layer: 0, group: 'l00', expert: 0, tokens: 3, documents: 2 });
  expect(table.objects()[8]).toMatchObject({ share: null, tokens: 0, documents: 0 });
});
it('sums of many documents are those of a plain loop, whatever the number', () => {
  for (const D of [7, 8, 9, 23]) {
    const cells = Float32Array.from({ length: D * 3 }, (_, i) => (i * 7) % 5);
    const many: DocumentCounts = {
      ...counts,
      document: new Int32Array(D),
      language: new Int32Array(D),
      count: [cells],
    };
    const sum = [0, 1, 2].map(e => cells.reduce((total, slots, i) => (i % 3 === e ? total + slots : total), 0));
    const total = sum[0] + sum[1] + sum[2];
    close(
      languageRows(many, 'selection', 'tokens', { languages: [0], numExperts: 3 }).q,
      sum.map(slots => slots / total),
    );
  }
});
it('groups documents by language and leaves out those not kept', () => {
  const { start, document } = everyDocument(Int32Array.of(1, 0, 1, 2), 3, Uint8Array.of(1, 1, 0, 1));
  expect([...start]).toEqual([0, 1, 2, 3]);
  expect([...document]).toEqual([1, 0, 3]);
});
