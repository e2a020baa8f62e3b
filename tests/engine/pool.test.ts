// Memory of the native build against a model: arrays in use never share a number, start at multiples of 64 bytes, and
// are used again.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPool, roundedSize } from '../../src/engine/library/pool.ts';
import { UserError } from '../../src/errors.ts';

/** As if every buffer began so many bytes after a multiple of 64. */
const misalignment = (skew: number) => (values: Float32Array) => (values.byteOffset + skew) % 64;

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ floats: fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 30_000 })) }) },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
);

describe('random allocations', () => {
  it.each([0, 16, 60])('when buffers are off by %i bytes', skew => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 100 }), list => {
        const pool = createPool(misalignment(skew));
        const used: Float32Array[] = [];
        for (const each of list) {
          if ('free' in each) {
            if (used.length > 0) pool.free(used.splice(each.free % used.length, 1)[0]);
            continue;
          }
          const values = pool.allocate(each.floats);
          expect(values.length).toBe(each.floats);
          expect(misalignment(skew)(values)).toBe(0);
          expect(pool.owns(values)).toBe(true);
          for (const other of used) {
            const apart =
              values.buffer !== other.buffer ||
              values.byteOffset + values.byteLength <= other.byteOffset ||
              other.byteOffset + other.byteLength <= values.byteOffset;
            expect(apart || values.length * other.length === 0).toBe(true);
          }
          used.push(values);
        }
      }),
      { numRuns: 100, seed: 8 },
    );
  });
});

describe('use again', () => {
  it('a freed array is the next of its size, at its whole length', () => {
    const pool = createPool(misalignment(0));
    const first = pool.allocate(1000);
    const rounded = roundedSize(4000) / 4;
    pool.free(first);
    const second = pool.allocate(rounded);
    expect(second.buffer).toBe(first.buffer);
    expect(second.length).toBe(rounded);
    expect(pool.allocate(1000).buffer).not.toBe(first.buffer);
  });

  it('of what is free it keeps at most what was ever in use at once, or 32 MiB', () => {
    const pool = createPool(misalignment(0));
    const buffers = new Set<ArrayBufferLike>();
    for (let i = 0; i < 64; i++) {
      const values = pool.allocate(2 ** 18 + i * 40_000); // 64 sizes from 1 MiB on, one at a time: 370 MiB together
      buffers.add(values.buffer);
      pool.free(values);
    }
    const kept = Array.from({ length: 64 }, (_, i) => pool.allocate(2 ** 18 + i * 40_000)).filter(values =>
      buffers.has(values.buffer),
    );
    const bytes = kept.reduce((sum, values) => sum + roundedSize(values.byteLength), 0);
    expect(bytes).toBeLessThanOrEqual(2 ** 25);
    expect(bytes).toBeGreaterThan(2 ** 24);
  });

  it('knows its own arrays and their parts from others', () => {
    const pool = createPool(misalignment(0));
    expect(pool.owns(pool.allocate(10).subarray(2, 3))).toBe(true);
    expect(pool.owns(new Float32Array(10))).toBe(false);
  });
});

it('no memory: one sentence', () => {
  const pool = createPool(misalignment(0));
  expect(() => pool.allocate(2 ** 50)).toThrow(UserError);
  expect(() => pool.allocate(2 ** 50)).toThrow(
    'There is no memory left for an array of 4294967296 MiB: use a smaller batch.',
  );
});

it('sizes are rounded up, by an eighth at most, and rounding again changes nothing', () => {
  expect([0, 1, 256, 257, 512, 513, 1024, 1025].map(roundedSize)).toEqual([256, 256, 256, 320, 512, 576, 1024, 1152]);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 40 }), bytes => {
      const size = roundedSize(bytes);
      expect(size % 64).toBe(0);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size).toBeLessThanOrEqual(Math.max(256, bytes * 1.125 + 64));
      expect(roundedSize(size)).toBe(size);
      expect(roundedSize(bytes + 1)).toBeGreaterThanOrEqual(size);
    }),
    { numRuns: 500, seed: 9 },
  );
});
