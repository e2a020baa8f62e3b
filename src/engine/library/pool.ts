// Memory of the native build: array buffers that are used again, so that a training step neither allocates nor leaves
// garbage. Sizes are rounded up to eighths of a power of two, so that similar tensors share buffers.

import { UserError } from '../../errors.ts';

const ALIGNMENT = 64; // bytes
const SMALLEST = 256;
const ALWAYS_KEPT = 2 ** 25;

/** `misalignment` gives the bytes by which an array starts after a multiple of 64. */
export function createPool(misalignment: (values: Float32Array) => number) {
  const free = new Map<number, Float32Array[]>(); // by bytes: whole aligned arrays
  const owned = new WeakSet<ArrayBufferLike>();
  let freeBytes = 0;
  let usedBytes = 0;
  let mostUsed = 0;
  return {
    allocate(floats: number): Float32Array {
      const bytes = roundedSize(floats * 4);
      const waiting = free.get(bytes)?.pop();
      usedBytes += bytes;
      mostUsed = Math.max(mostUsed, usedBytes);
      if (waiting) freeBytes -= bytes;
      return (waiting ?? alignedArray(bytes)).subarray(0, floats);
    },
    free(values: Float32Array): void {
      const bytes = roundedSize(values.length * 4);
      usedBytes -= bytes;
      // the garbage collector takes what no step has ever needed at once
      if (freeBytes + bytes > Math.max(mostUsed, ALWAYS_KEPT)) return;
      const whole = new Float32Array(values.buffer, values.byteOffset, bytes / 4);
      if (!free.has(bytes)) free.set(bytes, []);
      free.get(bytes)!.push(whole);
      freeBytes += bytes;
    },
    owns: (values: Float32Array): boolean => owned.has(values.buffer),
  };

  function alignedArray(bytes: number): Float32Array {
    const buffer = newBuffer(bytes + ALIGNMENT);
    owned.add(buffer);
    const skip = (ALIGNMENT - misalignment(new Float32Array(buffer, 0, 1))) % ALIGNMENT;
    return new Float32Array(buffer, skip, bytes / 4);
  }
}

function newBuffer(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch {
    throw new UserError(
      `There is no memory left for an array of ${(bytes / 2 ** 20).toFixed(0)} MiB: use a smaller batch.`,
    );
  }
}

/** The bytes set aside for so many: eight sizes for each power of two. */
export function roundedSize(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 3);
  const unit = Math.max(step, ALIGNMENT);
  return Math.ceil(bytes / unit) * unit;
}
