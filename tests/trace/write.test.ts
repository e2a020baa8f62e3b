// Recorded slots through Parquet and back: what is counted is what is written, in order, whatever the slots are.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { afterAll, expect, test } from 'vitest';
import { loadTrace } from '../../analysis/load.ts';
import { TRACE_VERSION, type TraceHeader } from '../../routing/trace.ts';
import { documentCounts, languageCounts } from '../../src/trace/count.ts';
import { type Recorded, toTrace } from '../../src/trace/recorded.ts';
import { emptySlots, groupsOf, NO_EXPERT, placeOf, type Slots, slotRows } from '../../src/trace/slots.ts';
import { addProbabilities, softmaxMeans, softmaxSums } from '../../src/trace/softmax.ts';
import { removeTrace, writeTrace } from '../../src/trace/write.ts';

const root = mkdtempSync(join(tmpdir(), 'moe-write-'));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;
const fresh = (): string => join(root, `trace-${folders++}`);

const LANGUAGES = ['xa', 'xb', 'xc'];
const E = 5;

function header(documents: number, layers: number[], k: number, language: Int32Array): TraceHeader {
  return {
    ...{ version: TRACE_VERSION, run: 'made up', model: 'by hand', routing: 'free', numExperts: E, expertsPerToken: k },
    ...{ numLayers: 9, moeLayers: layers, normalised: false, expertNames: ['a', 'b', 'c', 'd', 'e'] },
    languages: LANGUAGES.map(code => ({
      code,
      name: code,
      script: 'Latn',
      family: code,
      expert: -1,
      trainingBytes: 1,
    })),
    documents: Array.from({ length: documents }, (_, d) => ({
      ...{ id: `${d}`, item: `${d}`, language: LANGUAGES[language[d]], source: 'test', domain: 'general' },
    })),
  };
}

/** Documents of random tokens with random experts, some dropped, some gates 0. */
const slotsArbitrary = fc
  .record({
    documents: fc.array(fc.record({ language: fc.nat(2), special: fc.array(fc.boolean(), { maxLength: 6 }) }), {
      maxLength: 6,
    }),
    k: fc.integer({ min: 1, max: 3 }),
    layers: fc.constantFrom<number[]>([4], [0, 2], [1, 5, 7]),
    seed: fc.infiniteStream(fc.nat(999)),
  })
  .map(({ documents, k, layers, seed }): Slots => {
    const slots = emptySlots(
      documents.map(({ language, special }) => ({
        ...{ language, ids: Int32Array.from(special, () => seed.next().value % 50) },
        special: Uint8Array.from(special, Number),
      })),
      { step: 3, layers, experts: E, k },
    );
    for (let at = 0; at < slots.expert.length; at += k) {
      const order = [0, 1, 2, 3, 4].sort((a, b) => ((a * 7 + seed.next().value) % 11) - b);
      for (let i = 0; i < k; i++) {
        slots.expert[at + i] = seed.next().value % 8 === 0 ? NO_EXPERT : order[i];
        slots.gate[at + i] = (seed.next().value % 4) / 4;
      }
    }
    return slots;
  });

const recordedOf = (slots: Slots): Recorded => ({
  header: header(slots.language.length, slots.layers, slots.k, slots.language),
  ...{ slots, earlier: [], softmax: null, vocabulary: null },
});

/** Rows of a Parquet file as plain numbers. */
async function rowsOf(folder: string, name: string): Promise<Record<string, number>[]> {
  return (await parquetReadObjects({ file: await asyncBufferFromFile(join(folder, `${name}.parquet`)) })) as never;
}

type Row = Record<string, number>;

test('what is read back is sorted, and its counts are those of documents.parquet and counts.parquet', async () => {
  await fc.assert(
    fc.asyncProperty(slotsArbitrary, async slots => {
      const folder = fresh();
      writeTrace(folder, recordedOf(slots));
      const [rows, counts, documents] = await Promise.all(
        ['trace', 'counts', 'documents'].map(name => rowsOf(folder, name)),
      );
      const place = ({ document, position, layer, slot }: Row) =>
        ((document * 100 + position) * 100 + layer) * 10 + slot;
      for (let i = 1; i < rows.length; i++) expect(place(rows[i])).toBeGreaterThan(place(rows[i - 1]));
      expect(rows.length).toBe(slots.expert.filter(expert => expert !== NO_EXPERT).length);
      const weight = sharesOf(rows);
      const content = rows.filter(row => row.special === 0);
      const isFirst = ({ document, position }: Row): boolean =>
        slots.special.subarray(slots.start[document], slots.start[document + 1]).indexOf(0) === position;
      const of = (list: Row[], names: string[]) => table(list, names, weight);
      const [counted, first] = [content.filter(row => !isFirst(row)), content.filter(isFirst)];
      const cell = ['document', 'layer', 'expert'];
      expectCells(documents, cell, of(counted, cell), row => [row.count, row.gate]);
      expectCells(documents, cell, of(first, cell), row => [row.first, row.firstGate]);
      const wide = ['step', 'layer', 'language', 'expert'];
      expectCells(counts, wide, of(content, wide), row => [row.count, row.gate]);
      expect(documents.length).toBe(of(content, cell).size);
      expect(counts.length).toBe(of(content, wide).size);
      await loadTrace(folder); // which refuses what contradicts itself
      rmSync(folder, { recursive: true });
    }),
    { numRuns: 40, seed: 6 },
  );
});

/** Gate of each row divided by the sum of its token's in that layer; alike where that is 0. */
function sharesOf(rows: Row[]): Map<Row, number> {
  const token = ({ document, position, layer }: Row) => `${document} ${position} ${layer}`;
  const mass = new Map<string, [sum: number, slots: number]>();
  for (const row of rows) {
    const [sum, slots] = mass.get(token(row)) ?? [0, 0];
    mass.set(token(row), [sum + row.gate, slots + 1]);
  }
  return new Map(
    rows.map(row => {
      const [sum, slots] = mass.get(token(row))!;
      return [row, sum > 0 ? row.gate / sum : 1 / slots];
    }),
  );
}

/** Rows and summed weights by the named columns. */
function table(rows: Row[], names: string[], weight: Map<Row, number>): Map<string, [count: number, gate: number]> {
  const cells = new Map<string, [number, number]>();
  for (const row of rows) {
    const key = names.map(name => row[name]).join(' ');
    const [count, gate] = cells.get(key) ?? [0, 0];
    cells.set(key, [count + 1, gate + weight.get(row)!]);
  }
  return cells;
}

function expectCells(
  rows: Row[],
  names: string[],
  expected: Map<string, [count: number, gate: number]>,
  found: (row: Row) => [count: number, gate: number],
): void {
  for (const row of rows) {
    const [count, gate] = expected.get(names.map(name => row[name]).join(' ')) ?? [0, 0];
    expect(found(row)[0]).toBe(count);
    expect(found(row)[1]).toBeCloseTo(gate, 9);
  }
}

test('two tokens by hand: one dropped choice, gates of 0, a special token', () => {
  const ids = Int32Array.of(7, 8, 9, 10);
  const slots = emptySlots([{ language: 1, ids, special: Uint8Array.of(1, 0, 0, 0) }], {
    ...{ step: 0, layers: [2], experts: 3, k: 2 },
  });
  slots.expert.set([0, 1, 2, 0, NO_EXPERT, 1, 1, 2]);
  slots.gate.set([0.5, 0.5, 0.6, 0.2, 0, 0.3, 0, 0]);
  const rows = slotRows(slots, 0, 1);
  expect([...rows.slot]).toEqual([0, 1, 0, 1, 0, 0, 1]);
  expect([...rows.expert]).toEqual([0, 1, 2, 0, 1, 1, 2]);
  expect([...rows.special]).toEqual([1, 1, 0, 0, 0, 0, 0]);
  const cell = { document: 0, layer: 2 };
  expect(documentCounts(slots, 0, 1)).toEqual([
    { ...cell, expert: 0, count: 0, gate: 0, first: 1, firstGate: expect.closeTo(0.25, 6) },
    { ...cell, expert: 1, count: 2, gate: 1.5, first: 0, firstGate: 0 },
    { ...cell, expert: 2, count: 1, gate: 0.5, first: 1, firstGate: expect.closeTo(0.75, 6) },
  ]);
  expect(languageCounts(slots, 2).map(({ language, expert, count, gate }) => [language, expert, count, gate])).toEqual([
    [1, 0, 1, expect.closeTo(0.25, 6)],
    [1, 1, 2, 1.5],
    [1, 2, 2, expect.closeTo(1.25, 6)],
  ]);
});

/** Ten documents of `tokens` tokens. */
function even(tokens: number): Slots {
  const document = (language: number) => ({ language, ids: new Int32Array(tokens), special: new Uint8Array(tokens) });
  const slots = emptySlots(
    Array.from({ length: 10 }, (_, d) => document(d % 3)),
    { step: 0, layers: [0, 1], experts: E, k: 2 },
  );
  slots.expert.forEach((_, i) => {
    slots.expert[i] = i % 2;
  });
  slots.gate.fill(0.5);
  return slots;
}

test('a row group ends where a document ends', async () => {
  expect([...groupsOf(even(5), 65)]).toEqual([
    [0, 3],
    [3, 6],
    [6, 9],
    [9, 10],
  ]);
  expect([...groupsOf(even(5), 3)].length).toBe(10); // a document is never cut
  const slots = even(40_000); // 160,000 rows each, 2^19 a group
  const folder = fresh();
  writeTrace(folder, recordedOf(slots));
  const metadata = await parquetMetadataAsync(await asyncBufferFromFile(join(folder, 'trace.parquet')));
  expect(metadata.row_groups.map(group => Number(group.num_rows))).toEqual([480_000, 480_000, 480_000, 160_000]);
  expect(placeOf(slots, 3, 1)).toBe(14);
});

test('softmax and vocabulary have files of their own; what is not known has none, also where there was one before', async () => {
  const slots = even(3);
  const softmax = softmaxSums(slots);
  addProbabilities(softmax, slots, 4, 1, Float32Array.of(0.5, 0.25, 0.25, 0, 0));
  addProbabilities(softmax, slots, 4, 1, Float32Array.of(0, 0, 1), [4, 3, 0]); // of three experts that are left
  const vocabulary = new Map([
    [0, 'ä '],
    [7, '\\xE4'],
  ]);
  const recorded = { ...recordedOf(slots), softmax, vocabulary };
  const folder = fresh();
  const files = writeTrace(folder, recorded);
  expect(files.map(file => file.slice(folder.length + 1))).toEqual([
    ...['trace.parquet', 'counts.parquet', 'documents.parquet', 'softmax.parquet', 'vocabulary.parquet', 'trace.json'],
  ]);
  expect(readdirSync(folder).length).toBe(6);
  const means = [0.25 + 0.5, 0.125, 0.125, 0, 0].map((probability, expert) => ({
    document: 4,
    layer: 1,
    expert,
    probability,
  }));
  expect(await rowsOf(folder, 'softmax')).toEqual(means);
  expect(softmaxMeans(softmax, slots, 0, 10)).toEqual(means);
  expect(await rowsOf(folder, 'vocabulary')).toEqual([
    { token: 0, text: 'ä ' },
    { token: 7, text: '\\xE4' },
  ]);
  const header = JSON.parse(readFileSync(join(folder, 'trace.json'), 'utf8'));
  for (const file of files.slice(0, 5)) {
    const { key_value_metadata: pairs } = await parquetMetadataAsync(await asyncBufferFromFile(file));
    expect(JSON.parse(pairs!.find(({ key }) => key === 'moe.trace')!.value!)).toEqual(header);
  }
  expect(toTrace(recorded)).toMatchObject({ softmax: means, vocabulary });
  writeTrace(folder, recordedOf(slots));
  expect(existsSync(join(folder, 'softmax.parquet'))).toBe(false);
  writeFileSync(join(folder, 'mine.txt'), 'kept');
  removeTrace(folder);
  expect(readdirSync(folder)).toEqual(['mine.txt']);
});

test('without rows: the counts are whole, the slots an empty table; so is a trace without documents', async () => {
  const slots = even(3);
  const folder = fresh();
  writeTrace(folder, recordedOf(slots), { rows: false });
  expect(await rowsOf(folder, 'trace')).toEqual([]);
  expect((await rowsOf(folder, 'documents')).reduce((sum, row) => sum + row.count, 0)).toBe(10 * 2 * 2 * 2);
  expect((await loadTrace(folder)).columns.expert.length).toBe(0);
  const nothing = fresh();
  writeTrace(nothing, recordedOf(emptySlots([], { step: 0, layers: [0], experts: E, k: 1 })));
  expect(await rowsOf(nothing, 'documents')).toEqual([]);
});
