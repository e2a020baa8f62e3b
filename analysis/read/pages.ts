// One Parquet column chunk into a typed array: pages are found, unpacked and decoded by hyparquet's functions, and every count
// and length that a page states is compared with what is there before anything is allocated or followed.
// Required or optional flat columns without empty cells; plain, dictionary, delta and byte-stream-split encodings.
import { parquetHeader } from 'hyparquet/src/column.js';
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js';
import { byteStreamSplit, readRleBitPackedHybrid } from 'hyparquet/src/encoding.js';
import { readVarInt } from 'hyparquet/src/thrift.js';
import { snappy } from './snappy.ts';

export type NumberArray = Int32Array | Float32Array | Float64Array;
export interface ChunkFormat {
  type: 'INT32' | 'INT64' | 'FLOAT' | 'DOUBLE' | 'BYTE_ARRAY';
  codec: 'UNCOMPRESSED' | 'SNAPPY';
  /** Cells may be empty in principle; a page then carries definition levels. */
  optional: boolean;
}
interface Page {
  values: Uint8Array;
  count: number;
  encoding: string | undefined;
}
type Values = ArrayLike<number | bigint | string>;

const WIDTH = { INT32: 4, INT64: 8, FLOAT: 4, DOUBLE: 8, BYTE_ARRAY: 4 };

/** Calls `place(values, from)` for each page in turn until `rows` values are placed. Throws when the chunk is damaged. */
export function decodeChunk(
  chunk: Uint8Array,
  rows: number,
  format: ChunkFormat,
  place: (values: Values, from: number) => void,
): void {
  const reader = { view: viewOf(chunk), offset: 0 };
  let dictionary: Values | null = null;
  for (let filled = 0; filled < rows; ) {
    const header = parquetHeader(reader);
    const size = header.compressed_page_size;
    if (!(size >= 0 && reader.offset + size <= chunk.length)) throw new Error('a page runs past its column');
    const bytes = chunk.subarray(reader.offset, reader.offset + size);
    reader.offset += size;
    if (header.type === 'DICTIONARY_PAGE') {
      const count = header.dictionary_page_header?.num_values ?? -1;
      dictionary = plain(unpack(bytes, header.uncompressed_page_size, format), count, format.type);
      continue;
    }
    const page = dataPage(header, bytes, format);
    if (!(page.count > 0 && page.count <= rows - filled)) throw new Error(`a page claims ${page.count} values`);
    place(valuesOf(page, format, dictionary), filled);
    filled += page.count;
  }
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function unpack(bytes: Uint8Array, size: number, { codec }: ChunkFormat): Uint8Array {
  if (codec === 'UNCOMPRESSED') return bytes;
  // Snappy can do no better than 64 bytes from a copy of three.
  if (!(size >= 0 && size <= 32 * bytes.length)) throw new Error(`a page claims ${size} bytes`);
  return snappy(bytes, size);
}

/** The encoded values of a page of either version; definition levels are checked and cut off. */
function dataPage(header: ReturnType<typeof parquetHeader>, bytes: Uint8Array, format: ChunkFormat): Page {
  const { data_page_header: one, data_page_header_v2: two } = header;
  if (header.type === 'DATA_PAGE_V2' && two) {
    const levels = two.definition_levels_byte_length + two.repetition_levels_byte_length;
    if (!(levels >= 0 && levels <= bytes.length)) throw new Error('a page has levels longer than itself');
    if (two.num_nulls !== 0) throw new Error('it has empty cells');
    const size = header.uncompressed_page_size - levels;
    const body = bytes.subarray(levels);
    const values = two.is_compressed === false ? body : unpack(body, size, format);
    return { values, count: two.num_values, encoding: two.encoding };
  }
  if (header.type !== 'DATA_PAGE' || !one) throw new Error(`a page is of unknown kind ${header.type}`);
  let values = unpack(bytes, header.uncompressed_page_size, format);
  if (format.optional) values = withoutLevels(values, one.num_values);
  return { values, count: one.num_values, encoding: one.encoding };
}

/** Drops the definition levels that open a page of version 1, after seeing that they all say "there". */
function withoutLevels(page: Uint8Array, count: number): Uint8Array {
  const length = viewOf(page).getUint32(0, true);
  if (length + 4 > page.length) throw new Error('a page has levels longer than itself');
  const levels = runs(page.subarray(4, 4 + length), 1, count);
  if (levels.includes(0)) throw new Error('it has empty cells');
  return page.subarray(4 + length);
}

function valuesOf({ values, count, encoding }: Page, { type }: ChunkFormat, dictionary: Values | null): Values {
  if (encoding === 'PLAIN') return plain(values, count, type);
  if (encoding === 'RLE_DICTIONARY' || encoding === 'PLAIN_DICTIONARY') {
    if (!dictionary) throw new Error('a page needs a dictionary that is not there');
    const index = runs(values.subarray(1), values[0], count);
    const size = dictionary.length;
    if (index.some(i => i < 0 || i >= size)) throw new Error('a page points outside its dictionary');
    const entries = dictionary;
    return type === 'INT64' || type === 'BYTE_ARRAY'
      ? Array.from(index, i => entries[i])
      : Float64Array.from(index, i => entries[i] as number);
  }
  if (encoding === 'DELTA_BINARY_PACKED' && (type === 'INT32' || type === 'INT64')) return deltas(values, count, type);
  if (encoding === 'BYTE_STREAM_SPLIT' && type !== 'BYTE_ARRAY') {
    enough(values, count * WIDTH[type]);
    return byteStreamSplit({ view: viewOf(values), offset: 0 }, count, type, undefined) as ArrayLike<number>;
  }
  throw new Error(`its encoding ${encoding} is not one that is read; write it plain`);
}

function enough(bytes: Uint8Array, needed: number): void {
  if (!(needed >= 0 && needed <= bytes.length)) throw new Error('a page is shorter than its values');
}

function plain(bytes: Uint8Array, count: number, type: ChunkFormat['type']): Values {
  enough(bytes, count * WIDTH[type]);
  if (type === 'BYTE_ARRAY') return texts(bytes, count);
  const aligned = bytes.slice(0, count * WIDTH[type]).buffer;
  if (type === 'INT32') return new Int32Array(aligned);
  if (type === 'INT64') return new BigInt64Array(aligned);
  return type === 'FLOAT' ? new Float32Array(aligned) : new Float64Array(aligned);
}

function texts(bytes: Uint8Array, count: number): string[] {
  const view = viewOf(bytes);
  const decoder = new TextDecoder();
  const list: string[] = [];
  for (let at = 0; list.length < count; ) {
    const length = view.getUint32(at, true);
    enough(bytes, at + 4 + length);
    list.push(decoder.decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return list;
}

/** Run-length and bit-packed numbers; the runs are measured before they are followed. */
function runs(bytes: Uint8Array, width: number, count: number): Int32Array {
  if (!(width >= 0 && width <= 32)) throw new Error('a page packs numbers into more than 32 bits');
  const values = new Int32Array(count);
  if (width === 0) return values;
  const reader = { view: viewOf(bytes), offset: 0 };
  for (let seen = 0; seen < count; ) {
    const head = readVarInt(reader);
    const length = head >>> 1;
    const packed = (head & 1) === 1;
    reader.offset += packed ? length * width : (width + 7) >> 3;
    // The last packed group is filled up to eight values; some writers leave out its last bytes.
    if (length === 0 || reader.offset > bytes.length + width || (!packed && seen + length > count)) {
      throw new Error('a page has runs longer than itself');
    }
    seen += packed ? length * 8 : length;
    if (packed && seen > count + 7) throw new Error('a page has runs longer than itself');
  }
  readRleBitPackedHybrid({ view: viewOf(bytes), offset: 0 }, width, values, bytes.length);
  return values;
}

function deltas(bytes: Uint8Array, count: number, type: 'INT32' | 'INT64'): Values {
  const start = { view: viewOf(bytes), offset: 0 };
  const [block, parts] = [readVarInt(start), readVarInt(start)];
  if (!(parts > 0 && parts <= 1024 && block > 0 && block <= 1 << 24 && block % parts === 0)) {
    throw new Error('a page has blocks of impossible size');
  }
  const values = type === 'INT32' ? new Int32Array(count) : new BigInt64Array(count);
  deltaBinaryUnpack({ view: viewOf(bytes), offset: 0 }, count, values);
  return values;
}
