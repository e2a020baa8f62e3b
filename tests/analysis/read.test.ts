// Reading a trace document by document: the same from file and from memory, in any order, from any writer; and every way in which
// a trace can lie ends in one sentence, random damage included.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteFile } from 'hyparquet-writer';
import seedrandom from 'seedrandom';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DocumentBlock } from '../../analysis/block.ts';
import { documentCountsOf, readDocumentCounts } from '../../analysis/read/document-counts.ts';
import { rowGroups } from '../../analysis/read/parquet.ts';
import { blocksOf, streamBlocks } from '../../analysis/read/stream.ts';
import type { DocumentCount, DocumentSoftmax, Trace } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import { writeTrace } from '../../src/trace/write.ts';
import { syntheticTrace } from '../helpers/languages-fixture.ts';
import { tinyTrace } from '../helpers/tiny-trace.ts';

const root = mkdtempSync(join(tmpdir(), 'read-'));
afterAll(() => rmSync(root, { recursive: true }));
let number = 0;
const written = (trace: Trace): string => {
  const folder = join(root, `${number++}`);
  writeTrace(folder, trace);
  return folder;
};
const all = async (folder: string, options = {}): Promise<DocumentBlock[]> => {
  const blocks: DocumentBlock[] = [];
  for await (const block of streamBlocks(folder, options)) blocks.push(block);
  return blocks;
};

/** Two documents of two tokens in layers 2 and 3, k = 2 of 4 experts; the first token of each is special. */
const tiny = (): Trace => {
  const layers = (a: number, b: number): [number, number][][] => [
    [
      [a, 0.3],
      [b, 0.1],
    ],
    [
      [b, 0],
      [a, 0],
    ],
  ];
  const tokens = ['en', 'fi'].flatMap(language =>
    [0, 1, 2].map(t => ({ language, document: `0/${language}`, layers: layers(t % 3, 3) })),
  );
  const trace = tinyTrace(tokens, 4);
  for (let i = 0; i < 4; i++) for (const start of [0, 12]) trace.columns.special[start + i] = 1;
  return trace;
};
/** What a writer that counts would put beside the slots. */
const counted = (trace: Trace): DocumentCount[] => {
  const [kept, whole] = [true, false].map(dropFirst => documentCountsOf(trace, { dropFirst }));
  const { numExperts: E, moeLayers } = trace.header;
  return [...whole.document].flatMap((document, d) => {
    const place = kept.document.indexOf(document);
    const of = (cells: Float32Array, row: number, e: number) => (row < 0 ? 0 : cells[row * E + e]);
    return moeLayers.flatMap((layer, l) =>
      Array.from({ length: E }, (_, expert) => {
        const [count, gate] = [of(kept.count[l], place, expert), of(kept.gate[l], place, expert)];
        const [n, mass] = [of(whole.count[l], d, expert), of(whole.gate[l], d, expert)];
        return { document, layer, expert, count, gate, first: n - count, firstGate: Math.max(0, mass - gate) };
      }),
    );
  });
};
const uniform = ({ header }: Trace): DocumentSoftmax[] =>
  header.documents.flatMap((_, document) =>
    header.moeLayers.flatMap(layer =>
      Array.from({ length: header.numExperts }, (_, expert) => {
        return { document, layer, expert, probability: 1 / header.numExperts };
      }),
    ),
  );

describe('blocks', () => {
  it('are dense, with specials and the first content token not counted, gates as shares', () => {
    const [block, other] = [...blocksOf(tiny())];
    expect(block).toMatchObject({ document: 0, language: 0 });
    expect(other).toMatchObject({ document: 1, language: 1 });
    expect([...block.position]).toEqual([0, 1, 2]);
    expect([...block.counted]).toEqual([0, 0, 1]);
    expect([...block.expert]).toEqual([0, 3, 3, 0, 1, 3, 3, 1, 2, 3, 3, 2]);
    expect([...block.share].map(share => Math.round(100 * share))).toEqual([
      75, 25, 50, 50, 75, 25, 50, 50, 75, 25, 50, 50,
    ]);
    expect([...[...blocksOf(tiny(), { dropFirst: false })][0].counted]).toEqual([0, 1, 1]);
  });
  it('are the same from file, from memory and from a version 1 file in any order', async () => {
    const trace = syntheticTrace({ documents: 2, tokens: 5, steps: [0, 3] });
    const blocks = [...blocksOf(trace)];
    expect(await all(written(trace))).toEqual(blocks);
    const order = Array.from(trace.columns.slot.keys());
    const random = seedrandom('order');
    order.sort(() => random() - 0.5);
    const shuffled = structuredClone(trace);
    for (const [name, column] of Object.entries(trace.columns)) {
      for (const [i, from] of order.entries()) shuffled.columns[name as 'slot'][i] = column[from];
    }
    expect([...blocksOf(shuffled)]).toEqual(blocks);
    expect(await all(written({ ...shuffled, header: { ...trace.header, version: 1 } }))).toEqual(blocks);
  });
  it('span row groups of any size', async () => {
    const trace = syntheticTrace({ documents: 1, tokens: 2, steps: [0] });
    const folder = written(trace);
    const columnData = Object.entries(trace.columns).map(([name, data]) => {
      return { name, data, type: name === 'gate' ? ('FLOAT' as const) : ('INT32' as const), nullable: false };
    });
    for (const rowGroupSize of [5, 16, 100]) {
      parquetWriteFile({ filename: join(folder, 'trace.parquet'), columnData, rowGroupSize });
      expect(await all(folder)).toEqual([...blocksOf(trace)]);
    }
  });
  it('take the last step alone', async () => {
    const trace = tiny();
    const twice = structuredClone(trace);
    for (const [name, column] of Object.entries(trace.columns)) {
      const both = name === 'gate' ? new Float32Array(2 * column.length) : new Int32Array(2 * column.length);
      both.set(column);
      both.set(column, column.length);
      Object.assign(twice.columns, { [name]: both });
    }
    twice.columns.step.fill(5, 0, 24);
    twice.columns.expert.fill(1, 0, 24);
    expect(await all(written(twice))).toEqual([...blocksOf(trace)]);
  });
  it('leave a hole where capacity dropped a slot', () => {
    const trace = tiny();
    for (const [name, column] of Object.entries(trace.columns)) {
      Object.assign(trace.columns, { [name]: column.filter((_: number, i: number) => i !== 4 && i !== 6 && i !== 7) });
    }
    const [block] = [...blocksOf(trace)];
    expect([...block.expert.slice(4, 8)]).toEqual([-1, 3, -1, -1]);
    expect(block.share[5]).toBe(1);
  });
});

describe('counts per document', () => {
  it('come from the slots or from documents.parquet, and say what was left out', async () => {
    const trace = tiny();
    const counts = documentCountsOf(trace);
    expect(counts).toMatchObject({ items: 1, dropped: { special: 2, first: 2 }, softmax: null });
    expect([...counts.tokens]).toEqual([1, 1]);
    expect([...counts.count[0]]).toEqual([0, 0, 1, 1, 0, 0, 1, 1]);
    expect([...counts.gate[1]]).toEqual([0, 0, 0.5, 0.5, 0, 0, 0.5, 0.5]);
    const fromSlots = await readDocumentCounts(written(trace));
    expect(fromSlots).toEqual({ header: trace.header, counts });
    const beside = { ...trace, documents: counted(trace), softmax: uniform(trace) };
    const folder = written(beside);
    const read = await readDocumentCounts(folder);
    expect(read.counts).toEqual({ ...counts, softmax: [0, 1].map(() => new Float32Array(8).fill(0.25)) });
    expect(read.counts).toEqual(documentCountsOf(beside));
    expect((await all(folder, { against: read.counts })).length).toBe(2);
    const whole = await readDocumentCounts(folder, { dropFirst: false });
    expect([...whole.counts.tokens]).toEqual([2, 2]);
    expect(whole.counts.count).toEqual(documentCountsOf(trace, { dropFirst: false }).count);
  });
  it('leave out documents without a counted token, and number the items that remain', () => {
    const trace = tiny();
    trace.columns.special.fill(1, 0, 12);
    trace.header.documents[0].item = 'other';
    expect(documentCountsOf(trace)).toMatchObject({ document: Int32Array.of(1), item: Int32Array.of(0), items: 1 });
  });
  it('may be of one language, or of none counted', async () => {
    const trace = tiny();
    trace.columns.special.fill(1);
    expect((await readDocumentCounts(written(trace))).counts.document.length).toBe(0);
    expect(documentCountsOf(tinyTrace([{ language: 'en', document: 'a', layers: [[[0, 1]]] }], 2)).items).toBe(0);
  });
  it('from a writer with other types, nulls allowed, dictionaries and pages of version 1', async () => {
    const { header, counts } = await readDocumentCounts(join(import.meta.dirname, '../golden/analysis/foreign-trace'));
    expect(header.numExperts).toBe(4);
    expect([...counts.tokens]).toEqual([2, 2]);
    expect([...counts.count[0]]).toEqual([1, 1, 0, 2, 1, 1, 0, 2]); // positions 1 and 2: experts 0 and 1, each with 3
    expect(counts.gate[1][3]).toBeCloseTo(1.5, 6);
  });
});

describe('a trace that lies gets one sentence', () => {
  const refuses = async (folder: string, ...words: (string | RegExp)[]) => {
    const read = async () => {
      const { counts } = await readDocumentCounts(folder);
      await all(folder, { against: counts });
    };
    const error = await read().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UserError);
    const { message } = error as UserError;
    for (const word of words) expect(message).toMatch(word);
    expect(message).toMatch(/(trace\.json|\.parquet)/);
    expect(message).not.toMatch(/\n/);
  };
  const changed = (change: (trace: Trace) => void, beside = false) => {
    const trace = tiny();
    if (beside) Object.assign(trace, { documents: counted(trace), softmax: uniform(trace) });
    change(trace);
    return written(trace);
  };
  const slot = (name: keyof Trace['columns'], row: number, value: number) =>
    changed(trace => {
      trace.columns[name][row] = value;
    });
  const without = (...rows: number[]) =>
    changed(trace => {
      for (const [name, column] of Object.entries(trace.columns)) {
        Object.assign(trace.columns, { [name]: column.filter((_: number, i: number) => !rows.includes(i)) });
      }
    });

  it('ids outside the header, with the row', async () => {
    await refuses(slot('expert', 5, 4), 'trace.parquet, row 5: expert 4 is outside 0…3');
    await refuses(slot('expert', 5, -1), 'row 5: expert -1');
    await refuses(slot('language', 3, 2), 'row 3: language 2 is not in the header');
    await refuses(slot('language', 3, 1), 'row 3: language fi differs from en, the language of document 0/en');
    await refuses(slot('document', 23, 7), 'document 7 is not one of the 2');
    await refuses(slot('layer', 6, 1), 'row 6: layer 1 is not one of the MoE layers 2, 3');
    await refuses(slot('layer', 6, 1e9), 'row 6: layer 1000000000 is not one');
    await refuses(slot('token', 4, -2), 'row 4: token -2 is negative');
    await refuses(slot('token', 5, 7), 'row 5: token or special differs');
  });
  it('weights and flags that are none', async () => {
    await refuses(slot('gate', 5, Number.NaN), 'row 5: gate NaN is not a weight');
    await refuses(slot('gate', 5, -0.5), 'row 5: gate -0.5');
    await refuses(slot('gate', 5, Number.POSITIVE_INFINITY), 'row 5: gate Infinity');
    await refuses(slot('special', 4, 2), 'row 4: special is 2, neither 0 nor 1');
    await refuses(slot('position', 0, -1), 'row 0: position -1 is negative');
  });
  it('mixed k', async () => {
    await refuses(slot('slot', 5, 2), 'row 5: slot 2 is outside 0…1');
    await refuses(slot('slot', 5, 0), 'row 5: slot 0 of layer 2 occurs twice');
    await refuses(slot('expert', 5, 1), 'row 5: expert 1 is chosen twice by one token');
  });
  it('layer gaps', async () => {
    await refuses(without(6, 7), 'row 0: 0/en, position 1, has no slot in layer 3 but has in others');
    await refuses(without(2, 3, 6, 7, 10, 11), 'position 0, has no slot in layer 3');
    const long = (tokens: number) => {
      const layers: [number, number][][] = [[[0, 1]], [[1, 1]]];
      const trace = tinyTrace(
        Array.from({ length: tokens }, () => ({ language: 'en', document: 'a', layers })),
        2,
      );
      const kept = Array.from(trace.columns.layer, layer => layer === 2);
      for (const [name, column] of Object.entries(trace.columns)) {
        Object.assign(trace.columns, { [name]: column.filter((_: number, i: number) => kept[i]) });
      }
      return trace;
    };
    await refuses(written(long(21)), 'a, position 0, has no slot in layer 3 but has in others');
    expect([...blocksOf(long(20))].length).toBe(1); // k = 1: capacity may have dropped so few
  });
  it('order: version 2 is sorted', async () => {
    await refuses(slot('position', 8, 0), 'row 8: position 0 comes after position 1');
    await refuses(slot('layer', 5, 3), /row 6: (slot 0 of layer 3|layers and slots)/);
    const moved = changed(trace => {
      trace.columns.document.fill(1, 0, 4);
      trace.columns.language.fill(1, 0, 4);
    });
    await refuses(moved, 'row 4: document 0 comes too late');
  });
  it('counts that do not cover the slots, or are negative', async () => {
    await refuses(
      changed(trace => trace.counts.splice(0, trace.counts.length)),
      /counts\.parquet counts 0 slots at step 7, layer 2, en, expert 1, trace\.parquet has 1/,
    );
    await refuses(
      changed(trace => Object.assign(trace.counts[1], { count: -1 })),
      'counts.parquet, row 1',
      '"count":-1',
    );
    await refuses(
      changed(trace => Object.assign(trace.counts[1], { gate: Number.NaN })),
      'counts.parquet, row 1',
    );
    await refuses(
      changed(trace => Object.assign(trace.counts[1], { language: 9 })),
      'counts.parquet, row 1',
    );
  });
  it('counts per document against the header, themselves and the slots', async () => {
    const edit = (row: number, cell: Partial<DocumentCount>) =>
      changed(trace => Object.assign(trace.documents![row], cell), true);
    await refuses(edit(2, { count: -1 }), 'documents.parquet, row 2: count, gate, first and firstGate are -1, 0.75');
    await refuses(edit(2, { gate: Number.NaN }), 'row 2: count, gate, first and firstGate are 1, NaN');
    await refuses(edit(2, { expert: 4 }), 'row 2: document 0, layer 2, expert 4 does not fit');
    await refuses(edit(2, { layer: 0 }), 'row 2: document 0, layer 0');
    await refuses(edit(2, { document: 2 }), 'row 2: document 2');
    await refuses(edit(2, { expert: 1 }), 'row 2: document 0, layer 2, expert 1 is listed twice');
    await refuses(
      edit(2, { gate: 0.4 }),
      /0\/en has gates that sum to 0\.65\d*, no whole number of tokens, in layer 2/,
    );
    await refuses(edit(2, { count: 9 }), /9 slots|counts\.parquet counts/);
    await refuses(edit(2, { count: 0 }), /0\/en|documents\.parquet counts 0 slots of 0\/en at layer 2, expert 2/);
    const halves = changed(trace => {
      for (const cell of trace.documents!) if (cell.layer === 3) Object.assign(cell, { count: 0, gate: 0 });
    }, true);
    await refuses(halves, '0/en has 0 tokens, though 1 elsewhere, in layer 3');
  });
  it('softmax that is no distribution', async () => {
    const edit = (probability: number) => changed(trace => Object.assign(trace.softmax![1], { probability }), true);
    await refuses(edit(0.5), 'softmax.parquet: the probabilities of 0/en, layer 2 sum to 1.2500, not to 1');
    await refuses(edit(-0.1), 'softmax.parquet, row 1: probability -0.1');
    await refuses(edit(Number.NaN), 'probability NaN');
  });
  it('headers', async () => {
    const header = (change: object) =>
      changed(trace => {
        Object.assign(trace.header, change);
      });
    const { documents, languages } = tiny().header;
    await refuses(header({ documents: [] }), 'lists no documents');
    await refuses(header({ languages: [languages[0], languages[0]] }), 'language en is listed twice');
    await refuses(
      header({ languages: [languages[0]] }),
      'documents[1]` (0/fi) has language fi, which `languages` does not',
    );
    await refuses(header({ languages: [null, languages[1]] }), '`languages[0].code` must be text');
    await refuses(header({ documents: [documents[0], 7] }), '`documents[1].id` must be text');
    await refuses(header({ expertsPerToken: 5 }), '`expertsPerToken` is 5, there are 4 experts');
    const foreign = written(tiny());
    writeFileSync(join(foreign, 'trace.json'), JSON.stringify({ ...tiny().header, run: 'another' }));
    await refuses(foreign, 'their headers differ');
  });
  it('the order of keys in the header is no difference', async () => {
    const folder = written(tiny());
    const header = JSON.parse(readFileSync(join(folder, 'trace.json'), 'utf8'));
    writeFileSync(join(folder, 'trace.json'), JSON.stringify(Object.fromEntries(Object.entries(header).reverse())));
    expect((await all(folder)).length).toBe(2);
  });
  it('empty cells, wide integers and foreign types', async () => {
    const folder = written(tiny());
    const { columns } = tiny();
    const write = (change: Record<string, object>) => {
      const columnData = Object.entries(columns).map(([name, data]) => ({
        ...{
          name,
          data: Array.from(data) as unknown[],
          type: name === 'gate' ? ('FLOAT' as const) : ('INT32' as const),
        },
        ...change[name],
      }));
      parquetWriteFile({ filename: join(folder, 'trace.parquet'), columnData: columnData as never });
    };
    write({ token: { data: Array.from(columns.token, BigInt), type: 'INT64' } });
    expect((await all(folder)).map(block => [...block.token])).toEqual([...blocksOf(tiny())].map(b => [...b.token]));
    write({ token: { data: Array.from(columns.token, (id, i) => (i === 3 ? null : id)), nullable: true } });
    await refuses(folder, 'trace.parquet is damaged in column token (it has empty cells)');
    write({ token: { data: Array.from(columns.token, id => BigInt(id) + 2n ** 40n), type: 'INT64' } });
    await refuses(folder, /column token \(1099511627\d+ does not fit 32 bits\)/);
    write({ token: { data: Array.from(columns.token, String), type: 'STRING' } });
    await refuses(folder, 'column token (it holds BYTE_ARRAY)');
  });
});

describe('random damage', () => {
  const names = ['trace.parquet', 'counts.parquet', 'documents.parquet', 'softmax.parquet', 'trace.json'];
  let good = '';
  beforeAll(() => {
    const trace = syntheticTrace({ documents: 1, tokens: 5, steps: [3] });
    good = written({ ...trace, documents: counted(trace), softmax: uniform(trace) });
  });
  const harm = (bytes: Buffer, random: () => number): Buffer => {
    const at = Math.floor(random() * bytes.length);
    const kind = random();
    if (kind < 0.15) return bytes.subarray(0, at);
    if (kind < 0.25) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + Math.floor(random() * 40))]);
    const copy = Buffer.from(bytes);
    const length = kind < 0.6 ? 1 : kind < 0.9 ? 8 : 200;
    for (let i = at; i < Math.min(at + length, copy.length); i++) copy[i] = Math.floor(random() * 256);
    return copy;
  };
  it.each(names)('of %s is read as something possible or refused in one sentence, quickly', async name => {
    const random = seedrandom(`damage ${name}`);
    const folder = join(root, `damaged-${name}`);
    cpSync(good, folder, { recursive: true });
    const bytes = readFileSync(join(good, name));
    let refused = 0;
    for (let round = 0; round < 60; round++) {
      writeFileSync(join(folder, name), harm(bytes, random));
      const started = performance.now();
      try {
        const { counts } = await readDocumentCounts(folder);
        await all(folder, { against: counts });
      } catch (error) {
        expect(error, `round ${round}: ${(error as Error).stack}`).toBeInstanceOf(UserError);
        expect((error as Error).message).not.toMatch(/\n/);
        refused++;
      }
      expect(performance.now() - started, `round ${round}`).toBeLessThan(5000);
    }
    expect(refused).toBeGreaterThan(25);
  });
  it('of an index into a dictionary is seen, as are empty cells in pages of version 1', () => {
    const path = join(import.meta.dirname, '../golden/analysis/foreign-trace/pages.parquet');
    const read = (file: string, name: string) => [...rowGroups(file, { [name]: 'integer' }, null)][0].columns[name];
    expect([...read(path, 'x')]).toEqual(Array(24).fill(7));
    expect(() => read(path, 'y')).toThrow('column y (it has empty cells)');
    const bytes = readFileSync(path);
    const damaged = join(root, 'pages.parquet');
    const messages: string[] = [];
    for (let at = 4; at < 100; at++) {
      const copy = Buffer.from(bytes);
      copy[at]++;
      writeFileSync(damaged, copy);
      try {
        read(damaged, 'x');
      } catch (error) {
        messages.push((error as Error).message);
      }
    }
    expect(messages.join()).toMatch('points outside its dictionary');
  });
  it('of dictionaries, runs and levels: pages of other writers', () => {
    const path = join(import.meta.dirname, '../golden/analysis/foreign-trace/trace.parquet');
    const bytes = readFileSync(path);
    const random = seedrandom('dictionary');
    const damaged = join(root, 'dictionary.parquet');
    const kinds = { document: 'integer', expert: 'integer', gate: 'float' } as const;
    for (let round = 0; round < 400; round++) {
      writeFileSync(damaged, harm(bytes, random));
      const started = performance.now();
      try {
        for (const { rows, columns } of rowGroups(damaged, kinds, null)) expect(columns.expert.length).toBe(rows);
      } catch (error) {
        expect(error, `round ${round}: ${(error as Error).stack}`).toBeInstanceOf(UserError);
      }
      expect(performance.now() - started, `round ${round}`).toBeLessThan(2000);
    }
  });
});
