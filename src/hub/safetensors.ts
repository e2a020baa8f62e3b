// The safetensors format (https://github.com/huggingface/safetensors): 8 bytes header length (little endian), a JSON header
// `{"__metadata__": {…}, name: {"dtype", "shape", "data_offsets": [begin, end]}}`, then the data without a gap.
// This file parses and builds headers: nothing in a header is believed before it agrees with the size of the file.
import { UserError } from '../errors.ts';
import { onOneLine, show } from './show.ts';

/** Bytes per element of each type we know, in the order in which the canonical layout puts them last to first. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;
export type Dtype = keyof typeof DTYPE_BYTES;

/** Where one tensor lies. */
export interface TensorEntry {
  name: string;
  dtype: Dtype;
  shape: number[];
  path: string;
  /** First byte in the file, and how many. */
  start: number;
  byteLength: number;
}
/** What a file (or all shards of a checkpoint) holds; the tensors themselves are still on disk. */
export interface Safetensors {
  metadata: Record<string, string>;
  tensors: Map<string, TensorEntry>;
}

/** The same limit as the reference implementation's. */
export const LARGEST_HEADER = 100_000_000;
export const LENGTH_BYTES = 8;
/** A header needs 3 levels: itself, an entry, a shape. */
const DEEPEST = 8;

const MEND = 'the file is damaged or not safetensors; copy or download it again';
const damaged = (path: string, what: string) => new UserError(`${path}: ${what}; ${MEND}`);

/** Length of the header of a file of `fileBytes`, from its first 8 bytes. */
export function headerLength(first8: Uint8Array, fileBytes: number, path: string): number {
  if (fileBytes < LENGTH_BYTES) throw damaged(path, `it has ${fileBytes} bytes, fewer than a header's length takes`);
  const length = new DataView(first8.buffer, first8.byteOffset).getBigUint64(0, true);
  if (length > LARGEST_HEADER) throw damaged(path, `the header claims ${length} bytes, more than ${LARGEST_HEADER}`);
  if (Number(length) > fileBytes - LENGTH_BYTES) {
    throw damaged(path, `the header claims ${length} bytes, but the file has only ${fileBytes} in all`);
  }
  return Number(length);
}

/** Checks a header against the size of its file. Errors (UserError): whatever is wrong first, with the tensor's name. */
export function parseHeader(header: Uint8Array, fileBytes: number, path: string): Safetensors {
  const dataStart = LENGTH_BYTES + header.length;
  const { __metadata__: metadata = {}, ...entries } = parseJson(header, path);
  if (!isRecord(metadata) || !Object.values(metadata).every(value => typeof value === 'string')) {
    throw damaged(path, '"__metadata__" is not a map of strings');
  }
  const tensors = Object.entries(entries).map(([name, entry]) => parseEntry(name, entry, path, dataStart));
  checkLayout(tensors, dataStart, fileBytes, path);
  return { metadata: metadata as Record<string, string>, tensors: new Map(tensors.map(entry => [entry.name, entry])) };
}

function parseJson(header: Uint8Array, path: string): Record<string, unknown> {
  let json: unknown;
  let text: string;
  // Before it is parsed: each level takes many times the memory of its two characters.
  if (deeperThan(DEEPEST, header)) throw damaged(path, `the header is nested more than ${DEEPEST} deep`);
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
    json = JSON.parse(text);
  } catch (error) {
    throw damaged(path, `the header is not JSON (${onOneLine((error as Error).message)})`);
  }
  if (!isRecord(json)) throw damaged(path, 'the header is not a JSON object');
  const twice = duplicateKey(text);
  if (twice !== null) throw damaged(path, `the header has ${twice} twice`);
  return json;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether objects and lists of JSON text are inside each other more than `limit` deep. */
function deeperThan(limit: number, json: Uint8Array): boolean {
  const [quote, backslash] = [0x22, 0x5c];
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (byte === quote) {
      for (i++; i < json.length && json[i] !== quote; i++) if (json[i] === backslash) i++;
    } else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > limit) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return false;
}

/** First key that stands twice in one object of valid JSON text, as written; JSON.parse would silently keep the last. */
function duplicateKey(json: string): string | null {
  const open: Set<string>[] = [];
  for (let i = 0; i < json.length; i++) {
    if (json[i] === '{') open.push(new Set());
    else if (json[i] === '}') open.pop();
    else if (json[i] === '"') {
      const start = i++;
      for (; json[i] !== '"'; i++) if (json[i] === '\\') i++;
      let next = i + 1;
      while (/\s/.test(json[next])) next++;
      if (json[next] !== ':') continue;
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      if (open.at(-1)!.has(key)) return show(key);
      open.at(-1)!.add(key);
    }
  }
  return null;
}

function parseEntry(name: string, entry: unknown, path: string, dataStart: number): TensorEntry {
  const wrong = (what: string) => damaged(path, `tensor ${show(name)} ${what}`);
  if (!isRecord(entry)) throw wrong('is not described by an object');
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    const known = Object.keys(DTYPE_BYTES).join(' ');
    throw new UserError(`${path}: tensor ${show(name)} has dtype ${show(dtype)}; convert it to one of ${known}`);
  }
  if (!isSizes(shape)) throw wrong(`has shape ${show(shape)}, not a list of whole numbers from 0 up`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[1] < offsets[0]) {
    throw wrong(`has data_offsets ${show(offsets)}, not a begin and an end`);
  }
  const byteLength = offsets[1] - offsets[0];
  const needed = shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype as Dtype]);
  if (needed !== byteLength) {
    throw wrong(
      `of shape ${show(shape)} and dtype ${dtype} needs ${needed} bytes but its data_offsets span ${byteLength}`,
    );
  }
  return { name, dtype: dtype as Dtype, shape, path, start: dataStart + offsets[0], byteLength };
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every(size => Number.isSafeInteger(size) && size >= 0 && !Object.is(size, -0));

/** The tensors must follow each other without gap or overlap and fill the file. */
function checkLayout(tensors: readonly TensorEntry[], dataStart: number, fileBytes: number, path: string): void {
  const inOrder = [...tensors].sort((a, b) => a.start - b.start || a.byteLength - b.byteLength);
  let end = dataStart;
  for (const { name, start, byteLength } of inOrder) {
    if (start < end) throw damaged(path, `tensor ${show(name)} overlaps the one before it`);
    if (start > end) throw damaged(path, `there is a hole of ${start - end} bytes before tensor ${show(name)}`);
    end = start + byteLength;
    if (end > fileBytes) {
      throw damaged(path, `tensor ${show(name)} ends at byte ${end} of a file of ${fileBytes}: the file is cut short`);
    }
  }
  if (end !== fileBytes) throw damaged(path, `${fileBytes - end} bytes at the end belong to no tensor`);
}

export interface TensorShape {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
}

/** Bytes of one tensor's data. */
export const tensorBytes = ({ dtype, shape }: TensorShape): number =>
  shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);

/** The reference implementation's order: wide types first (so that all data is aligned), within a type by UTF-8 name. */
export function canonicalOrder<T extends TensorShape>(tensors: readonly T[]): T[] {
  const rank = Object.keys(DTYPE_BYTES);
  return [...tensors].sort(
    (a, b) => rank.indexOf(b.dtype) - rank.indexOf(a.dtype) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  );
}

/** Length and header, padded with spaces to a multiple of 8, for tensors in the order in which their data will follow. */
export function buildHeader(tensors: readonly TensorShape[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const fields: string[] = [];
  const keys = Object.keys(metadata).sort();
  const field = (name: string, value: unknown) => fields.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  if (keys.length > 0) field('__metadata__', Object.fromEntries(keys.map(key => [key, metadata[key]])));
  let end = 0;
  for (const tensor of tensors) {
    const begin = end;
    end += tensorBytes(tensor);
    field(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] });
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(LENGTH_BYTES + padded, ' ');
  header.writeBigUInt64LE(BigInt(padded));
  header.set(json, LENGTH_BYTES);
  return header;
}
