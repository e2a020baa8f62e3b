// The identity of a checkpoint's weights: SHA-256 over the bytes of its safetensors files in the order of their names.
// One file alone has the hash that sha256sum gives; shards have that of `cat *.safetensors | sha256sum`.
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { openCheckpoint } from './read-safetensors.ts';

const PIECE_BYTES = 2 ** 22;

/** @throws UserError for a folder without a readable checkpoint */
export function hashWeights(directory: string): string {
  const paths = new Set(Array.from(openCheckpoint(directory).tensors.values(), ({ path }) => path));
  const hash = createHash('sha256');
  const piece = Buffer.alloc(PIECE_BYTES);
  for (const path of [...paths].sort()) {
    const file = openSync(path, 'r');
    try {
      for (let got = readSync(file, piece); got > 0; got = readSync(file, piece)) hash.update(piece.subarray(0, got));
    } finally {
      closeSync(file);
    }
  }
  return hash.digest('hex');
}
