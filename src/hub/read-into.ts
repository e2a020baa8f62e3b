// Reads a tensor of a file into memory that is there already. Types other than fp32 are widened piece by piece.
import { closeSync, openSync, readSync } from 'node:fs';
import { UserError } from '../errors.ts';
import { partOf, readFloat32 } from './read-safetensors.ts';
import { DTYPE_BYTES, type TensorEntry } from './safetensors.ts';

/** How many numbers are widened at a time: 1 MiB of fp32. */
const PIECE = 2 ** 18;
/** Node refuses single reads of 2 GiB. */
const LARGEST_READ = 2 ** 30;

/** The stored bytes as they are. @throws UserError when the file is gone or has become shorter */
export function readBytesInto(entry: TensorEntry, target: Uint8Array): void {
  let file: number;
  try {
    file = openSync(entry.path, 'r');
  } catch (error) {
    throw new UserError(`cannot open ${entry.path} (${(error as NodeJS.ErrnoException).code}); check the path`);
  }
  try {
    for (let done = 0; done < entry.byteLength; ) {
      const got = readSync(file, target, done, Math.min(LARGEST_READ, entry.byteLength - done), entry.start + done);
      if (got === 0)
        throw new UserError(`${entry.path} has become shorter while it was read; read it again when it is whole`);
      done += got;
    }
  } finally {
    closeSync(file);
  }
}

/** The values as fp32, rounded as readFloat32 does. */
export function readFloat32Into(entry: TensorEntry, target: Float32Array): void {
  if (entry.dtype === 'F32') {
    readBytesInto(entry, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
    return;
  }
  const count = entry.byteLength / DTYPE_BYTES[entry.dtype];
  for (let from = 0; from < count; from += PIECE)
    target.set(readFloat32(partOf(entry, from, [Math.min(PIECE, count - from)])), from);
}
