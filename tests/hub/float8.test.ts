// 8-bit floats against torch, every code.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { float8E4m3ToFloat32, float8E5m2ToFloat32 } from '../../src/hub/float8.ts';
import { readBytes, readFloat32, readInt32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hub');
const golden: Record<string, (number | null)[]> = JSON.parse(readFileSync(join(HOME, 'float8.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'moe-float8-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The bits of float32, null for NaN. */
const bitsOf = (value_N: Float32Array): (number | null)[] =>
  Array.from(new Uint32Array(value_N.buffer), (bits, i) => (Number.isNaN(value_N[i]) ? null : bits));

test('by hand: E4M3 ends at 448 without infinity, E5M2 is the upper half of binary16', () => {
  const e4m3 = Uint8Array.of(0x38, 0x01, 0x07, 0x08, 0x7e, 0xfe, 0x7f, 0xff);
  expect(Array.from(float8E4m3ToFloat32(e4m3))).toEqual([
    1,
    2 ** -9,
    7 * 2 ** -9,
    2 ** -6,
    448,
    -448,
    Number.NaN,
    Number.NaN,
  ]);
  const e5m2 = Uint8Array.of(0x3c, 0x01, 0x03, 0x04, 0x7b, 0x7c, 0xfc, 0x7d);
  const infinity = Number.POSITIVE_INFINITY;
  expect(Array.from(float8E5m2ToFloat32(e5m2))).toEqual([
    1,
    2 ** -16,
    3 * 2 ** -16,
    2 ** -14,
    57344,
    infinity,
    -infinity,
    Number.NaN,
  ]);
});

test('all 256 codes of a file of the reference library, to the bit as torch widens them', () => {
  const { tensors } = readSafetensors(join(HOME, 'float8.safetensors'));
  for (const [name, dtype] of [
    ['e4m3', 'F8_E4M3'],
    ['e5m2', 'F8_E5M2'],
  ]) {
    const entry = tensors.get(name)!;
    expect(entry.dtype).toBe(dtype);
    expect(bitsOf(readFloat32(entry)), dtype).toEqual(golden[dtype]);
    expect(golden[dtype].filter(bits => bits === null)).toHaveLength(dtype === 'F8_E4M3' ? 2 : 6);
  }
  expect(() => readInt32(tensors.get('e4m3')!)).toThrow(/is F8_E4M3, but whole numbers are needed/);
});

test('bytes written as they are stored make the reference library’s file', async () => {
  const source = readSafetensors(join(HOME, 'float8.safetensors'));
  const copies = Array.from(source.tensors.values(), entry => ({ ...entry, bytes: () => readBytes(entry) }));
  await writeSafetensors(join(folder, 'copy'), copies.reverse(), source.metadata);
  expect(readFileSync(join(folder, 'copy'))).toEqual(readFileSync(join(HOME, 'float8.safetensors')));
  const [entry] = copies;
  await expect(writeSafetensors(join(folder, 'short'), [{ ...entry, bytes: () => new Uint8Array(1) }])).rejects.toThrow(
    /was given 1 bytes/,
  );
});
