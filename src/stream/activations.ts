// Hidden states that wait for their layer: in memory, or in a file that has no name any more once it is open, so that the
// system removes it however the program ends.
import { randomUUID } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.ts';

/** One long array of floats. */
export interface Activations {
  write(at: number, values: Float32Array): void;
  read(at: number, target: Float32Array): void;
  close(): void;
}

export function inMemory(floats: number): Activations {
  let all = new Float32Array(floats);
  return {
    write: (at, values) => all.set(values, at),
    read: (at, target) => target.set(all.subarray(at, at + target.length)),
    close: () => {
      all = new Float32Array();
    },
  };
}

/** @throws UserError when the folder cannot be written to or its disk is full */
export function onDisk(floats: number, folder: string): Activations {
  const path = join(folder, `moe-activations-${randomUUID()}`);
  const failed = (error: unknown): UserError =>
    new UserError(
      `cannot keep ${((floats * 4) / 2 ** 20).toFixed(0)} MiB of activations in ${folder} (${(error as NodeJS.ErrnoException).code}); name a folder with room in TMPDIR, or give more --memory.`,
    );
  let file: number;
  try {
    file = openSync(path, 'wx+', 0o600);
  } catch (error) {
    throw failed(error);
  }
  rmSync(path);
  const each = (
    values: Float32Array,
    at: number,
    move: (bytes: Uint8Array, done: number, from: number) => number,
  ): void => {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (let done = 0; done < bytes.length; ) {
      const moved = move(bytes, done, at * 4 + done);
      if (moved === 0) throw new Error(`activations end at byte ${at * 4 + done}`);
      done += moved;
    }
  };
  try {
    ftruncateSync(file, floats * 4);
  } catch (error) {
    closeSync(file);
    throw failed(error);
  }
  return {
    write(at, values) {
      try {
        each(values, at, (bytes, done, from) => writeSync(file, bytes, done, bytes.length - done, from));
      } catch (error) {
        throw failed(error);
      }
    },
    read: (at, target) =>
      each(target, at, (bytes, done, from) => readSync(file, bytes, done, bytes.length - done, from)),
    close: () => closeSync(file),
  };
}
