// Writing safetensors: the header from names, types and shapes, then one tensor at a time, asked for only when its turn comes.
// The layout is canonical (safetensors.ts), so the same content gives the same bytes, as the reference implementation's.
import { closeSync, openSync, writeSync } from 'node:fs';
import { UserError } from '../errors.ts';
import { float32ToBfloat16, float32ToFloat16 } from './half.ts';
import { buildHeader, canonicalOrder, type TensorShape, tensorBytes } from './safetensors.ts';

/** One tensor to be written. F32, BF16 and F16 take float32 values and round to nearest even; I32 takes int32 values. */
export interface TensorSource {
  name: string;
  dtype: 'F32' | 'BF16' | 'F16' | 'I32';
  shape: readonly number[];
  values: () => Float32Array | Int32Array | Promise<Float32Array | Int32Array>;
}

/** One tensor whose bytes are written as they are, of any type. */
export interface StoredTensor extends TensorShape {
  bytes: () => Uint8Array;
}

/** Node refuses single writes of 2 GiB. */
const LARGEST_WRITE = 2 ** 30;

/** Writes a new file; use it inside writeFileAtomically or writeFolderAtomically. Errors: those of the file system; a name
 *  given twice; values whose number or type is not the declared one. */
export async function writeSafetensors(
  path: string,
  tensors: readonly (TensorSource | StoredTensor)[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const inOrder = canonicalOrder(tensors);
  refuseDoubles(inOrder);
  const file = openSync(path, 'wx');
  try {
    writeAll(file, buildHeader(inOrder, metadata));
    for (const tensor of inOrder) writeAll(file, await dataOf(tensor));
  } finally {
    closeSync(file);
  }
}

function refuseDoubles(tensors: readonly TensorShape[]): void {
  const names = new Set(['__metadata__']);
  for (const { name } of tensors) {
    if (names.has(name)) throw new UserError(`cannot save two tensors under the name "${name}"; name each once`);
    names.add(name);
  }
}

async function dataOf(tensor: TensorSource | StoredTensor): Promise<Uint8Array> {
  if (!('bytes' in tensor)) return encode(tensor, await tensor.values());
  const bytes = tensor.bytes();
  if (bytes.length === tensorBytes(tensor)) return bytes;
  throw new Error(`tensor "${tensor.name}" of shape [${tensor.shape}] was given ${bytes.length} bytes`);
}

function encode(tensor: TensorSource, value_N: Float32Array | Int32Array): Uint8Array {
  const whole = tensor.dtype === 'I32';
  if (whole !== value_N instanceof Int32Array) {
    throw new Error(`tensor "${tensor.name}" is ${tensor.dtype} but its values are a ${value_N.constructor.name}`);
  }
  const stored_N = narrow(tensor.dtype, value_N);
  if (stored_N.byteLength !== tensorBytes(tensor)) {
    throw new Error(`tensor "${tensor.name}" of shape [${tensor.shape}] was given ${value_N.length} values`);
  }
  return new Uint8Array(stored_N.buffer, stored_N.byteOffset, stored_N.byteLength);
}

function narrow(
  dtype: TensorSource['dtype'],
  value_N: Float32Array | Int32Array,
): Float32Array | Int32Array | Uint16Array {
  if (dtype === 'BF16') return float32ToBfloat16(value_N as Float32Array);
  if (dtype === 'F16') return float32ToFloat16(value_N as Float32Array);
  return value_N;
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, Math.min(LARGEST_WRITE, bytes.length - done));
  }
}
