// Arrays of whole numbers as other programs write them: .npy (NumPy's format 1 to 3, C order), raw little-endian bytes, nested JSON.
// All become [rows, layers, k]; errors name the place (`where`).
import { UserError } from '../../errors.ts';

export interface Numbers {
  shape: number[];
  values: Int32Array;
}

const READERS: Record<string, (view: DataView, at: number, little: boolean) => number> = {
  u1: (view, at) => view.getUint8(at),
  i1: (view, at) => view.getInt8(at),
  u2: (view, at, little) => view.getUint16(at, little),
  i2: (view, at, little) => view.getInt16(at, little),
  u4: (view, at, little) => view.getUint32(at, little),
  i4: (view, at, little) => view.getInt32(at, little),
  u8: (view, at, little) => Number(view.getBigUint64(at, little)),
  i8: (view, at, little) => Number(view.getBigInt64(at, little)),
};

/** @throws UserError for bytes that are no .npy of whole numbers, or are cut short */
export function parseNpy(bytes: Uint8Array, where: string): Numbers {
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (bytes.length < 12 || magic.some((byte, i) => bytes[i] !== byte))
    throw new UserError(`${where} is no .npy array; save it with numpy.save.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes[6] === 1 ? 10 : 12;
  const end = start + (bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, Math.min(end, bytes.length)));
  const [, order, type] = /'descr': '([<>|=]?)([a-z]\d+)'/.exec(header) ?? [];
  const [, inside] = /'shape': \(([\d, ]*)\)/.exec(header) ?? [];
  if (type === undefined || inside === undefined || !(type in READERS) || header.includes("'fortran_order': True"))
    throw new UserError(
      `${where} is an array of ${type ?? 'unknown'} numbers; save whole numbers in C order, as int32.`,
    );
  const shape = inside.split(',').flatMap(size => (size.trim() === '' ? [] : [Number(size)]));
  const count = shape.reduce((a, b) => a * b, 1);
  const width = Number(type[1]);
  if (bytes.length < end + count * width)
    throw new UserError(
      `${where} is cut short: shape (${shape.join(', ')}) needs ${count * width} bytes; copy it again.`,
    );
  const read = READERS[type];
  const values = Int32Array.from({ length: count }, (_, i) => read(view, end + i * width, order !== '>'));
  return { shape, values };
}

/** Values of raw bytes. @param type of NumPy: int32, uint16, uint8 @throws UserError for another type or a length that does not fit */
export function parseRaw(bytes: Uint8Array, type: string, where: string): Int32Array {
  const name = ({ int32: 'i4', uint16: 'u2', uint8: 'u1' } as Record<string, string>)[type];
  if (name === undefined)
    throw new UserError(`${where} has experts as ${type}; only int32, uint16 and uint8 are read.`);
  const width = Number(name[1]);
  if (bytes.length % width !== 0)
    throw new UserError(`${where} has ${bytes.length} bytes of experts, no multiple of ${width}; it is cut short.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: bytes.length / width }, (_, i) => READERS[name](view, i * width, true));
}

/** Nested lists of whole numbers, all of one shape. @throws UserError for anything else */
export function parseLists(value: unknown, where: string): Numbers {
  const shape: number[] = [];
  for (let at = value; Array.isArray(at); at = at[0]) shape.push(at.length);
  const flat = (value as unknown[]).flat(Math.max(0, shape.length - 1));
  const even = (list: unknown, depth: number): boolean =>
    depth === shape.length
      ? Number.isInteger(list)
      : Array.isArray(list) && list.length === shape[depth] && list.every(each => even(each, depth + 1));
  if (!even(value, 0)) throw new UserError(`${where} is no nested list of whole numbers of one shape; write it again.`);
  return { shape, values: Int32Array.from(flat as number[]) };
}

/** Bytes of base64. @throws UserError for characters that are not of it */
export function parseBase64(text: string, where: string): Uint8Array {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text))
    throw new UserError(`${where} is no base64; copy the response as it came.`);
  return Uint8Array.from(Buffer.from(text, 'base64'));
}
