// Parquet out and in again, bit for bit; and every way in which a trace folder can be wrong gets one sentence.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteFile } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTrace } from '../../analysis/load.ts';
import type { Trace } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import { writeTrace } from '../../src/trace/write.ts';
import { syntheticTrace } from '../helpers/languages-fixture.ts';

const root = mkdtempSync(join(tmpdir(), 'trace-'));
const good = join(root, 'good');
const trace = syntheticTrace({ documents: 1, tokens: 4, steps: [0, 3] });
let number = 0;
const copy = () => {
  const folder = join(root, `copy-${number++}`);
  cpSync(good, folder, { recursive: true });
  return folder;
};
const edited = (change: (trace: Trace) => void) => {
  const folder = join(root, `edited-${number++}`);
  const other = structuredClone(trace);
  change(other);
  writeTrace(folder, other);
  return folder;
};

beforeAll(() => {
  writeTrace(good, trace);
});
afterAll(() => rmSync(root, { recursive: true }));

describe('a trace folder', () => {
  it('comes back bit for bit and leaves no half file', async () => {
    expect(await loadTrace(good)).toEqual(trace);
    expect(readdirSync(good).sort()).toEqual(['counts.parquet', 'trace.json', 'trace.parquet']);
  });
  it('is the same bytes when written twice', () => {
    const again = join(root, 'again');
    writeTrace(again, trace);
    for (const name of readdirSync(good))
      expect(readFileSync(join(again, name))).toEqual(readFileSync(join(good, name)));
  });
  it('spans row groups', async () => {
    const rows = 600_000;
    const big = structuredClone(trace);
    const { gate, ...integers } = trace.columns;
    const n = gate.length;
    const data = { gate: Float32Array.from({ length: rows }, (_, i) => gate[i % n]) };
    for (const [name, column] of Object.entries(integers)) {
      Object.assign(data, { [name]: Int32Array.from({ length: rows }, (_, i) => column[i % n]) });
    }
    Object.assign(big.columns, data);
    big.counts = trace.counts.map(row => ({ ...row, count: row.count * 2000 }));
    const folder = join(root, 'big');
    writeTrace(folder, big);
    const back = await loadTrace(folder);
    expect(back.columns.expert.length).toBe(rows);
    for (const [name, column] of Object.entries(big.columns)) {
      const read = back.columns[name as keyof typeof back.columns];
      expect(Buffer.from(read.buffer).equals(Buffer.from(column.buffer)), name).toBe(true);
    }
  });
  it('may have no slots at all', async () => {
    const folder = edited(other => {
      for (const [name, column] of Object.entries(other.columns))
        Object.assign(other.columns, { [name]: column.slice(0, 0) });
    });
    expect((await loadTrace(folder)).columns.slot.length).toBe(0);
  });
  it('may come from a writer without metadata and with other encodings', async () => {
    const folder = copy();
    const columnData = Object.entries(trace.columns).map(([name, data]) => {
      return { name, data: Array.from(data), type: name === 'gate' ? ('FLOAT' as const) : ('INT32' as const) };
    });
    parquetWriteFile({ filename: join(folder, 'trace.parquet'), columnData, codec: 'UNCOMPRESSED' });
    expect(await loadTrace(folder)).toEqual(trace);
  });
  it('refuses columns of unequal length and counts that are no integers, as faults of the program', () => {
    expect(() => edited(other => Object.assign(other.columns, { slot: new Int32Array(3) }))).toThrow(
      'differ in length',
    );
    expect(() => edited(other => Object.assign(other.counts[1], { count: 2 ** 31 }))).toThrow('counts, row 1');
  });
});

describe('a wrong trace folder gets one sentence', () => {
  const refuses = async (folder: string, ...words: (string | RegExp)[]) => {
    const error = await loadTrace(folder).catch(error => error);
    expect(error).toBeInstanceOf(UserError);
    for (const word of words) expect(error.message).toMatch(word);
    expect(error.message).toMatch(/(analyze-routing|update|trace\.md)/);
    expect(error.message).not.toMatch(/\n/);
  };
  const header = (change: Record<string, unknown>) => {
    const folder = copy();
    writeFileSync(join(folder, 'trace.json'), JSON.stringify({ ...trace.header, ...change }));
    return folder;
  };
  it('missing folder or file', async () => {
    await refuses(join(root, 'nowhere'), 'nowhere/trace.json is missing');
    for (const name of ['trace.parquet', 'counts.parquet']) {
      const folder = copy();
      rmSync(join(folder, name));
      await refuses(folder, `${name} is missing`);
    }
  });
  it('truncated, empty or foreign Parquet', async () => {
    for (const keep of [0, 3, 100, readFileSync(join(good, 'trace.parquet')).length - 5]) {
      const folder = copy();
      truncateSync(join(folder, 'trace.parquet'), keep);
      await refuses(folder, 'trace.parquet is truncated or no Parquet file');
    }
    const foreign = copy();
    parquetWriteFile({ filename: join(foreign, 'counts.parquet'), columnData: [{ name: 'x', data: [1, 2] }] });
    await refuses(foreign, 'counts.parquet has no column step, layer, language, expert, count, gate');
  });
  it('a page that was damaged', async () => {
    const folder = copy();
    const bytes = readFileSync(join(folder, 'trace.parquet'));
    bytes.fill(0xff, 8, 60);
    writeFileSync(join(folder, 'trace.parquet'), bytes);
    await refuses(folder, 'trace.parquet');
  });
  it('header: not JSON, no version, newer version, wrong parts', async () => {
    const broken = copy();
    writeFileSync(join(broken, 'trace.json'), '{');
    await refuses(broken, 'trace.json is no valid JSON');
    await refuses(header({ version: undefined }), 'has no `version`');
    await refuses(header({ version: 99 }), 'has version 99, this program reads up to 2', 'update');
    await refuses(header({ moeLayers: [23, 22] }), 'ascending', /\[23,22\]/);
    await refuses(header({ moeLayers: [23, 24] }), 'below 24');
    await refuses(header({ numExperts: 6 }), '7 `expertNames` for 6 experts');
    await refuses(header({ documents: 3 }), '`documents` must be a list');
    await refuses(header({ run: 5 }), '`run` must be text, found 5');
    const languages = [{ ...trace.header.languages[0], expert: 7 }, ...trace.header.languages.slice(1)];
    await refuses(header({ languages }), 'language zh has expert 7', '0…6');
  });
  it('files of different runs', async () => {
    await refuses(header({ run: 'other' }), 'come from different runs');
  });
  it('values out of range, named by row', async () => {
    await refuses(
      edited(t => {
        t.columns.expert[5] = 7;
      }),
      'trace.parquet, row 5: expert 7 is outside 0…6',
    );
    await refuses(
      edited(t => {
        t.columns.layer[4] = 21;
      }),
      'row 4: layer 21',
    );
    await refuses(
      edited(t => {
        t.columns.document[2] = 999;
      }),
      'row 2: document 999',
    );
    await refuses(
      edited(t => {
        t.columns.language[2] = -1;
      }),
      'row 2: language -1',
    );
    await refuses(
      edited(t => {
        t.columns.gate[3] = Number.NaN;
      }),
      'row 3: gate NaN',
    );
    await refuses(
      edited(t => {
        t.columns.position[0] = -2;
      }),
      'row 0: position -2',
    );
  });
  it('slots that are torn apart', async () => {
    const swap = (t: Trace) => {
      for (const column of Object.values(t.columns)) [column[1], column[2]] = [column[2], column[1]];
    };
    await refuses(edited(swap), 'slot 1 does not follow slot 0');
    const skip = (t: Trace) => {
      t.columns.slot[1] = 2;
    };
    await refuses(edited(skip), 'row 1: slot 2 does not follow slot 1');
  });
  it('counts that do not cover the slots, or do not fit the header', async () => {
    await refuses(
      edited(t => void t.counts.pop()),
      /counts 0 slots at step 3, layer \d+, \w+, expert \d, trace\.parquet has/,
    );
    await refuses(
      edited(t => {
        t.counts[0].expert = 9;
      }),
      'counts.parquet, row 0',
    );
    await refuses(
      edited(t => {
        t.counts[0].count = -1;
      }),
      'counts.parquet, row 0',
    );
  });
});
