// Writes a routing trace to a folder: `trace.parquet` (one row per routed slot), `counts.parquet` (exact counts) and
// `trace.json` (the header, also inside both Parquet files under the key `moe.trace`). Schema: routing/trace.ts, docs/trace.md.
// Integer columns are delta-packed and snappy-compressed: 2 M rows take about half a second and 13 MB.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ColumnSource, parquetWriteFile } from 'hyparquet-writer';
import type { CountRow, Trace, TraceColumns } from '../../routing/trace.ts';
import { makeFolder } from '../make-folder.ts';

/** Key of the header in the Parquet key-value metadata. */
export const HEADER_KEY = 'moe.trace';
const ROW_GROUP = 1 << 19;

/**
 * Writes the three files of a trace and returns their paths. Each file appears whole or not at all.
 * Throws when a column is shorter than another or a count does not fit 32 bits: both are faults of the program.
 */
export function writeTrace(directory: string, trace: Trace): string[] {
  makeFolder(directory);
  const header = JSON.stringify(trace.header);
  return [
    whole(join(directory, 'trace.parquet'), path => writeParquet(path, slotColumns(trace.columns), header)),
    whole(join(directory, 'counts.parquet'), path => writeParquet(path, countColumns(trace.counts), header)),
    whole(join(directory, 'trace.json'), path => writeFileSync(path, `${JSON.stringify(trace.header, null, 2)}\n`)),
  ];
}

function slotColumns(columns: TraceColumns): ColumnSource[] {
  const lengths = new Set(Object.values(columns).map(column => column.length));
  if (lengths.size !== 1) throw new Error(`trace columns differ in length: ${[...lengths].join(', ')}`);
  const { gate, ...integers } = columns;
  return [
    ...Object.entries(integers).map(([name, data]) => integerColumn(name, data)),
    { name: 'gate', data: gate, type: 'FLOAT', nullable: false },
  ];
}

function countColumns(counts: CountRow[]): ColumnSource[] {
  const integer = (name: 'step' | 'layer' | 'language' | 'expert' | 'count') => {
    const data = Int32Array.from(counts, row => row[name]);
    const wrong = counts.findIndex((row, i) => row[name] !== data[i]);
    if (wrong >= 0) throw new Error(`trace counts, row ${wrong}: ${name} ${counts[wrong][name]} is no 32-bit integer`);
    return integerColumn(name, data);
  };
  const gate = Float64Array.from(counts, row => row.gate);
  return [
    ...(['step', 'layer', 'language', 'expert', 'count'] as const).map(integer),
    { name: 'gate', data: gate, type: 'DOUBLE', nullable: false },
  ];
}

const integerColumn = (name: string, data: Int32Array): ColumnSource => ({
  name,
  data,
  type: 'INT32',
  nullable: false,
  encoding: 'DELTA_BINARY_PACKED',
});

function writeParquet(filename: string, columnData: ColumnSource[], header: string): void {
  const kvMetadata = [{ key: HEADER_KEY, value: header }];
  parquetWriteFile({ filename, columnData, kvMetadata, rowGroupSize: ROW_GROUP, createdBy: 'language-family-moe' });
}

/** Writes beside the target and renames, so that a reader never meets half a file. */
function whole(path: string, write: (temporary: string) => void): string {
  const temporary = `${path}.part`;
  try {
    write(temporary);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return path;
}
