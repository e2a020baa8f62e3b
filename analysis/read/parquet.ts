// Opens a Parquet file of a trace and reads chosen columns, one row group at a time, into typed arrays. What the footer says is
// compared with the file before it is believed; damage ends in one sentence that names the file.
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileMetaData, parquetMetadata } from 'hyparquet';
import type { TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import { AGAIN, oneLine, sameHeader } from './header.ts';
import { type ChunkFormat, decodeChunk, type NumberArray } from './pages.ts';

/** What a column becomes in memory. Whole numbers that do not fit 32 bits are refused. */
export type ColumnKind = 'integer' | 'float' | 'double' | 'text';
export type Columns = Record<string, NumberArray>;
export interface RowGroup<C = Columns> {
  /** Number of the first row in the file. */
  start: number;
  rows: number;
  columns: C;
}

/** Rows per group beyond which a footer is taken for damaged. */
const MOST_ROWS = 1 << 27;

/**
 * Yields the row groups of `path` with the named columns. Text columns come as arrays of strings. Nothing is kept between groups.
 * Throws UserError where the file is missing, truncated, foreign, damaged, or written for another header.
 */
export function* rowGroups(
  path: string,
  kinds: Record<string, ColumnKind>,
  header: TraceHeader | null,
): Generator<RowGroup> {
  if (!existsSync(path)) throw new UserError(`${path} is missing: the trace is incomplete; ${AGAIN}.`);
  const descriptor = openSync(path, 'r');
  try {
    const size = fstatSync(descriptor).size;
    const metadata = readFooter(descriptor, size, path);
    checkColumns(metadata, Object.keys(kinds), path);
    if (header) checkHeader(metadata, header, path);
    let start = 0;
    for (const group of metadata.row_groups) {
      const rows = Number(group.num_rows);
      const columns: Columns = {};
      for (const [name, kind] of Object.entries(kinds)) {
        columns[name] = guarded(path, name, () => readColumn(descriptor, size, metadata, group, name, kind));
      }
      if (rows > 0) yield { start, rows, columns };
      start += rows;
    }
  } finally {
    closeSync(descriptor);
  }
}

/** All row groups, each column in one array. */
export function readWhole(path: string, kinds: Record<string, ColumnKind>, header: TraceHeader | null): Columns {
  const groups = [...rowGroups(path, kinds, header)];
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  const whole: Columns = {};
  for (const [name, kind] of Object.entries(kinds)) {
    if (groups.length === 1) {
      whole[name] = groups[0].columns[name];
      continue;
    }
    whole[name] = emptyColumn(kind, rows);
    if (kind === 'text') (whole[name] as unknown as string[]).length = 0;
    for (const { start, columns } of groups) {
      if (kind === 'text') (whole[name] as unknown as string[]).push(...(columns[name] as unknown as string[]));
      else whole[name].set(columns[name], start);
    }
  }
  return whole;
}

/** Rows that the file holds, from its footer. */
export function rowCount(path: string): number {
  const descriptor = openSync(path, 'r');
  try {
    const { row_groups } = readFooter(descriptor, fstatSync(descriptor).size, path);
    return row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
  } finally {
    closeSync(descriptor);
  }
}

function emptyColumn(kind: ColumnKind, rows: number): NumberArray {
  if (kind === 'integer') return new Int32Array(rows);
  if (kind === 'float') return new Float32Array(rows);
  return kind === 'double' ? new Float64Array(rows) : (new Array<string>(rows) as unknown as NumberArray);
}

function guarded<Result>(path: string, name: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw new UserError(`${path} is damaged in column ${name} (${oneLine(error)}); ${AGAIN}.`);
  }
}

function readFooter(descriptor: number, size: number, path: string): FileMetaData {
  try {
    if (size < 12) throw new Error(`it has ${size} bytes`);
    const tail = bytesAt(descriptor, size - 8, 8);
    const length = new DataView(tail.buffer).getUint32(0, true);
    if (length > size - 12) throw new Error('its footer is cut off');
    const metadata = parquetMetadata(bytesAt(descriptor, size - 8 - length, length + 8));
    const rows = metadata.row_groups.map(group => Number(group.num_rows));
    if (rows.some(n => !(Number.isInteger(n) && n >= 0 && n <= MOST_ROWS))) throw new Error('a row group has no size');
    if (rows.reduce((sum, n) => sum + n, 0) !== Number(metadata.num_rows))
      throw new Error('its row groups do not add up');
    return metadata;
  } catch (error) {
    throw new UserError(`${path} is truncated or no Parquet file (${oneLine(error)}); ${AGAIN}.`);
  }
}

function bytesAt(descriptor: number, start: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let read = 0; read < length; ) {
    const got = readSync(descriptor, bytes, read, length - read, start + read);
    if (got === 0) throw new Error('the file ends too soon');
    read += got;
  }
  return bytes;
}

function checkColumns(metadata: FileMetaData, names: string[], path: string): void {
  const found = metadata.schema.slice(1).map(element => element.name);
  const missing = names.filter(name => !found.includes(name));
  if (missing.length > 0) {
    throw new UserError(`${path} has no column ${missing.join(', ')}: it is no routing trace; see docs/trace.md.`);
  }
}

function checkHeader(metadata: FileMetaData, header: TraceHeader, path: string): void {
  const inside = metadata.key_value_metadata?.find(pair => pair.key === 'moe.trace')?.value;
  if (inside === undefined) return;
  let equal = false;
  try {
    equal = sameHeader(JSON.parse(inside), header);
  } catch {
    // text that is no JSON differs
  }
  if (!equal) {
    throw new UserError(`${path} and trace.json beside it come from different runs: their headers differ; ${AGAIN}.`);
  }
}

function readColumn(
  descriptor: number,
  size: number,
  metadata: FileMetaData,
  group: FileMetaData['row_groups'][number],
  name: string,
  kind: ColumnKind,
): NumberArray {
  const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema.join('.') === name)?.meta_data;
  const element = metadata.schema.find(one => one.name === name);
  if (!chunk || !element) throw new Error('it is not a flat column');
  const rows = Number(group.num_rows);
  if (Number(chunk.num_values) !== rows) throw new Error(`it has ${chunk.num_values} of ${rows} values`);
  const codec = chunk.codec as string;
  if (codec !== 'UNCOMPRESSED' && codec !== 'SNAPPY') throw new Error(`${codec} is not read; write it with snappy`);
  const start = Number(chunk.dictionary_page_offset || chunk.data_page_offset);
  const length = Number(chunk.total_compressed_size);
  if (!(start >= 4 && length >= 0 && start + length <= size)) throw new Error('it lies outside the file');
  const type = element.type as ChunkFormat['type'];
  const wanted =
    kind === 'text' ? ['BYTE_ARRAY'] : ['INT32', 'INT64', ...(kind === 'integer' ? [] : ['FLOAT', 'DOUBLE'])];
  if (!wanted.includes(type)) throw new Error(`it holds ${type}`);
  const optional = element.repetition_type === 'OPTIONAL';
  if (!optional && element.repetition_type !== 'REQUIRED') throw new Error('it is not a flat column');
  const into = emptyColumn(kind, rows);
  decodeChunk(bytesAt(descriptor, start, length), rows, { type, codec, optional }, (values, from) => {
    if (type === 'INT64') values = Float64Array.from(values as ArrayLike<bigint>, Number);
    if (kind === 'integer') checkIntegers(values as ArrayLike<number>, type);
    if (kind === 'text')
      for (let i = 0; i < values.length; i++) (into as unknown as string[])[from + i] = values[i] as string;
    else into.set(values as ArrayLike<number>, from);
  });
  return into;
}

function checkIntegers(values: ArrayLike<number>, type: ChunkFormat['type']): void {
  if (type !== 'INT64') return;
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== (values[i] | 0)) throw new Error(`${values[i]} does not fit 32 bits`);
  }
}
