// Writes a routing trace to a folder (docs/trace.md): `trace.parquet` (one row per routed slot), `counts.parquet` and, where they
// are known, `documents.parquet` (exact counts), `softmax.parquet`, `vocabulary.parquet`; then `trace.json`, the header, which
// every Parquet file has inside too, under the key `moe.trace`. Schema: routing/trace.ts.
// Integer columns are delta-packed and snappy-compressed; rows of recorded slots are made group by group, never all at once.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ColumnSource, fileWriter, ParquetWriter, schemaFromColumnData } from 'hyparquet-writer';
import type { CountRow, DocumentCount, DocumentSoftmax, Trace, TraceColumns } from '../../routing/trace.ts';
import { makeFolder } from '../make-folder.ts';
import { documentCounts } from './count.ts';
import { countRows, type Recorded } from './recorded.ts';
import { emptyRows, groupsOf, slotRows } from './slots.ts';
import { softmaxMeans } from './softmax.ts';

/** Key of the header in the Parquet key-value metadata. */
export const HEADER_KEY = 'moe.trace';
const ROW_GROUP = 1 << 19;

export interface WriteOptions {
  /** False: trace.parquet is written without rows, for a trace of which only counts are wanted. */
  rows?: boolean;
}

/**
 * Writes the files of a trace and returns their paths. Each file appears whole or not at all, the header last; files of an older
 * trace in the folder that this one has not are removed.
 * Throws when a column is shorter than another or a count does not fit 32 bits: both are faults of the program.
 */
export function writeTrace(directory: string, trace: Trace | Recorded, { rows = true }: WriteOptions = {}): string[] {
  makeFolder(directory);
  const header = JSON.stringify(trace.header);
  const tables = 'slots' in trace ? recordedTables(trace) : plainTables(trace);
  const file = <T>(name: string, groups: Iterable<T> | null, columns: (group: T) => ColumnSource[]): string[] => {
    const path = join(directory, name);
    if (groups !== null) return [whole(path, at => writeParquet(at, groups, columns, header))];
    rmSync(path, { force: true });
    return [];
  };
  return [
    ...file('trace.parquet', rows ? tables.slots : [emptyRows(0)], slotColumns),
    ...file('counts.parquet', [tables.counts], countColumns),
    ...file('documents.parquet', tables.documents, documentColumns),
    ...file('softmax.parquet', tables.softmax, softmaxColumns),
    ...file('vocabulary.parquet', tables.vocabulary && [tables.vocabulary], vocabularyColumns),
    whole(join(directory, 'trace.json'), path => writeFileSync(path, `${JSON.stringify(trace.header, null, 2)}\n`)),
  ];
}

const FILES = ['trace', 'counts', 'documents', 'softmax', 'vocabulary'].map(name => `${name}.parquet`);

/** Takes away the trace in a folder, if there is one, and nothing else. */
export function removeTrace(directory: string): void {
  for (const name of ['trace.json', ...FILES]) rmSync(join(directory, name), { force: true });
}

/** Groups of rows, made as they are taken; null where there is no such file. */
interface Tables {
  slots: Iterable<TraceColumns>;
  counts: CountRow[];
  documents: Iterable<DocumentCount[]> | null;
  softmax: Iterable<DocumentSoftmax[]> | null;
  vocabulary: ReadonlyMap<number, string> | null;
}

const plainTables = ({ columns, counts, documents, softmax, vocabulary }: Trace): Tables => ({
  slots: [columns],
  counts,
  documents: documents ? [documents] : null,
  softmax: softmax ? [softmax] : null,
  vocabulary: vocabulary ?? null,
});

function recordedTables(recorded: Recorded): Tables {
  const { slots, softmax, vocabulary } = recorded;
  const eachGroup = <T>(rows: (first: number, end: number) => T): Iterable<T> => ({
    *[Symbol.iterator]() {
      // A trace without documents still has its columns.
      const groups = slots.language.length > 0 ? groupsOf(slots, ROW_GROUP) : ([[0, 0]] as const);
      for (const [first, end] of groups) yield rows(first, end);
    },
  });
  return {
    slots: eachGroup((first, end) => slotRows(slots, first, end)),
    counts: countRows(recorded),
    documents: eachGroup((first, end) => documentCounts(slots, first, end)),
    softmax: softmax && eachGroup((first, end) => softmaxMeans(softmax, slots, first, end)),
    vocabulary,
  };
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

const countColumns = (counts: CountRow[]): ColumnSource[] => [
  ...integerColumns(counts, ['step', 'layer', 'language', 'expert', 'count'], 'trace counts'),
  numberColumn('gate', 'DOUBLE', counts, row => row.gate),
];

const documentColumns = (counts: DocumentCount[]): ColumnSource[] => [
  ...integerColumns(counts, ['document', 'layer', 'expert', 'count'], 'document counts'),
  numberColumn('gate', 'DOUBLE', counts, row => row.gate),
  ...integerColumns(counts, ['first'], 'document counts'),
  numberColumn('firstGate', 'DOUBLE', counts, row => row.firstGate),
];

const softmaxColumns = (means: DocumentSoftmax[]): ColumnSource[] => [
  ...integerColumns(means, ['document', 'layer', 'expert'], 'softmax means'),
  numberColumn('probability', 'FLOAT', means, row => row.probability),
];

const vocabularyColumns = (vocabulary: ReadonlyMap<number, string>): ColumnSource[] => [
  integerColumn('token', Int32Array.from(vocabulary.keys())),
  { name: 'text', data: [...vocabulary.values()], type: 'STRING', nullable: false },
];

/** @throws Error for a value that is no 32-bit integer */
function integerColumns<Name extends string>(
  rows: { [Column in Name]: number }[],
  names: readonly Name[],
  what: string,
): ColumnSource[] {
  return names.map(name => {
    const data = Int32Array.from(rows, row => row[name]);
    const wrong = rows.findIndex((row, i) => row[name] !== data[i]);
    if (wrong >= 0) throw new Error(`${what}, row ${wrong}: ${name} ${rows[wrong][name]} is no 32-bit integer`);
    return integerColumn(name, data);
  });
}

const integerColumn = (name: string, data: Int32Array): ColumnSource => ({
  name,
  data,
  type: 'INT32',
  nullable: false,
  encoding: 'DELTA_BINARY_PACKED',
});

const numberColumn = <Row>(
  name: string,
  type: 'FLOAT' | 'DOUBLE',
  rows: Row[],
  value: (row: Row) => number,
): ColumnSource => ({
  name,
  data: type === 'FLOAT' ? Float32Array.from(rows, value) : Float64Array.from(rows, value),
  type,
  nullable: false,
});

function writeParquet<T>(
  filename: string,
  groups: Iterable<T>,
  columns: (group: T) => ColumnSource[],
  header: string,
): void {
  const kvMetadata = [{ key: HEADER_KEY, value: header }];
  let file: ParquetWriter | null = null;
  for (const group of groups) {
    const columnData = columns(group);
    file ??= new ParquetWriter({
      writer: fileWriter(filename),
      schema: schemaFromColumnData({ columnData }),
      kvMetadata,
      createdBy: 'language-family-moe',
    });
    file.write({ columnData, rowGroupSize: ROW_GROUP });
  }
  file?.finish();
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
