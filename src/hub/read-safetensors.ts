// Reading safetensors: the header first, then one tensor at a time from its place in the file, so that a checkpoint of any
// size takes the memory of its largest tensor. Sharded checkpoints look like one file.
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../errors.ts';
import { float8E4m3ToFloat32, float8E5m2ToFloat32 } from './float8.ts';
import { bfloat16ToFloat32, float16ToFloat32 } from './half.ts';
import type { Safetensors, TensorEntry } from './safetensors.ts';
import { DTYPE_BYTES, headerLength, LENGTH_BYTES, parseHeader } from './safetensors.ts';
import { onOneLine } from './show.ts';

const INDEX_NAME = 'model.safetensors.index.json';
const SINGLE_NAME = 'model.safetensors';
/** Node refuses single reads of 2 GiB. */
const LARGEST_READ = 2 ** 30;

/** What one safetensors file holds. Errors (UserError): no such file, damaged or hostile header, truncated data. */
export function readSafetensors(path: string): Safetensors {
  return withFile(path, (file, fileBytes) => {
    const length = headerLength(readRange(file, 0, Math.min(LENGTH_BYTES, fileBytes), path), fileBytes, path);
    return parseHeader(readRange(file, LENGTH_BYTES, length, path), fileBytes, path);
  });
}

/**
 * What a checkpoint holds. `path` is a `.safetensors` file, a `model.safetensors.index.json`, or a folder with either.
 * Errors (UserError): as readSafetensors, and an index that disagrees with its shards.
 */
export function openCheckpoint(path: string): Safetensors {
  if (path.endsWith('.json')) return readShards(path);
  if (!existsSync(path) || !statSync(path).isDirectory()) return readSafetensors(path);
  const index = join(path, INDEX_NAME);
  if (existsSync(index)) return readShards(index);
  if (existsSync(join(path, SINGLE_NAME))) return readSafetensors(join(path, SINGLE_NAME));
  throw new UserError(
    `${path} is not a checkpoint: it has neither ${SINGLE_NAME} nor ${INDEX_NAME}; name another folder`,
  );
}

function readShards(indexPath: string): Safetensors {
  const shardOf = weightMap(indexPath);
  const shards = new Map<string, Safetensors>();
  for (const shard of new Set(shardOf.values())) shards.set(shard, readSafetensors(join(dirname(indexPath), shard)));
  const tensors = new Map<string, TensorEntry>();
  for (const [name, shard] of shardOf) {
    const entry = shards.get(shard)!.tensors.get(name);
    if (entry === undefined) {
      throw new UserError(`${indexPath} places tensor "${name}" in ${shard}, which lacks it; fetch both files again`);
    }
    tensors.set(name, entry);
  }
  return { metadata: Object.assign({}, ...[...shards.values()].map(({ metadata }) => metadata)), tensors };
}

/** Tensor name → file name beside the index. */
function weightMap(indexPath: string): Map<string, string> {
  let map: unknown;
  try {
    map = (JSON.parse(readFileSync(indexPath, 'utf8')) as { weight_map?: unknown } | null)?.weight_map;
  } catch (error) {
    const why = onOneLine((error as Error).message);
    throw new UserError(`cannot read the checkpoint index ${indexPath} (${why}); fetch it again`);
  }
  if (typeof map !== 'object' || map === null) {
    throw new UserError(`${indexPath} has no "weight_map"; give the index of a Hugging Face checkpoint`);
  }
  const entries = Object.entries(map);
  const foreign = entries.find(
    ([, file]) => typeof file !== 'string' || file !== basename(file) || file.startsWith('.'),
  );
  if (foreign !== undefined) {
    const [name, file] = foreign;
    throw new UserError(
      `${indexPath} places tensor "${name}" in ${JSON.stringify(file)}; a shard must be a file beside it`,
    );
  }
  return new Map(entries);
}

/**
 * A contiguous part of a tensor as if it were one of its own, so that reading it reads its bytes alone.
 * @param from first element, counted row-major. Throws RangeError for a part that is not inside
 */
export function partOf(entry: TensorEntry, from: number, shape: readonly number[]): TensorEntry {
  const width = DTYPE_BYTES[entry.dtype];
  const byteLength = shape.reduce((product, size) => product * size, width);
  if (!Number.isSafeInteger(from) || from < 0 || from * width + byteLength > entry.byteLength)
    throw new RangeError(`[${shape}] from ${from} is not inside tensor "${entry.name}" of shape [${entry.shape}]`);
  return { ...entry, shape: [...shape], start: entry.start + from * width, byteLength };
}

/** The raw little-endian bytes, at the start of their own buffer so that any typed array can view them. */
export function readBytes(entry: TensorEntry): Uint8Array<ArrayBuffer> {
  return withFile(entry.path, (file, fileBytes) => {
    if (entry.start + entry.byteLength > fileBytes) throw shrunk(entry.path);
    return readRange(file, entry.start, entry.byteLength, entry.path);
  });
}

/** The values as float32 (F64 and 64-bit integers are rounded, BOOL is 0 or 1). */
export function readFloat32(entry: TensorEntry): Float32Array {
  const { buffer } = readBytes(entry);
  if (entry.dtype === 'BF16') return bfloat16ToFloat32(new Uint16Array(buffer));
  if (entry.dtype === 'F8_E4M3') return float8E4m3ToFloat32(new Uint8Array(buffer));
  if (entry.dtype === 'F8_E5M2') return float8E5m2ToFloat32(new Uint8Array(buffer));
  if (entry.dtype === 'F16') return float16ToFloat32(new Uint16Array(buffer));
  if (entry.dtype === 'F32') return new Float32Array(buffer);
  if (entry.dtype === 'F64') return new Float32Array(new Float64Array(buffer));
  return Float32Array.from(integers(entry, buffer), Number);
}

/** The values of a BF16 tensor as they are stored. */
export function readBfloat16(entry: TensorEntry): Uint16Array {
  if (entry.dtype !== 'BF16') throw new Error(`tensor "${entry.name}" is ${entry.dtype}, not BF16`);
  return new Uint16Array(readBytes(entry).buffer);
}

/** The values as int32. Errors (UserError): a floating-point tensor, a value outside int32. */
export function readInt32(entry: TensorEntry): Int32Array {
  if (/^B?F/.test(entry.dtype)) {
    throw new UserError(`${entry.path}: tensor "${entry.name}" is ${entry.dtype}, but whole numbers are needed there`);
  }
  const { buffer } = readBytes(entry);
  if (entry.dtype === 'I32') return new Int32Array(buffer);
  return Int32Array.from(integers(entry, buffer), value => {
    if (Number(value) === (Number(value) | 0)) return Number(value);
    throw new UserError(`${entry.path}: tensor "${entry.name}" holds ${value}, which 32 bits cannot; store it as I32`);
  });
}

function integers({ dtype }: TensorEntry, buffer: ArrayBuffer): Iterable<number | bigint> {
  switch (dtype) {
    case 'I8':
      return new Int8Array(buffer);
    case 'I16':
      return new Int16Array(buffer);
    case 'U16':
      return new Uint16Array(buffer);
    case 'I32':
      return new Int32Array(buffer);
    case 'U32':
      return new Uint32Array(buffer);
    case 'I64':
      return new BigInt64Array(buffer);
    case 'U64':
      return new BigUint64Array(buffer);
    default:
      return new Uint8Array(buffer);
  }
}

function withFile<T>(path: string, use: (file: number, fileBytes: number) => T): T {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw new UserError(`cannot open ${path} (${(error as NodeJS.ErrnoException).code}); check the path`);
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new UserError(`${path} is not a file; name a .safetensors file`);
    return use(file, stat.size);
  } finally {
    closeSync(file);
  }
}

function readRange(file: number, start: number, length: number, path: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const got = readSync(file, bytes, done, Math.min(LARGEST_READ, length - done), start + done);
    if (got === 0) throw shrunk(path);
    done += got;
  }
  return bytes;
}

const shrunk = (path: string) =>
  new UserError(`${path} has become shorter while it was read; read it again when it is whole`);
