// 10,000 hostile safetensors files: each is read as what it says, or refused by one sentence; nothing else is ever thrown, and
// no buffer is made that is larger than the file.
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { readFloat32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { DTYPE_BYTES, LARGEST_HEADER } from '../../src/hub/safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-fuzz-'));
afterAll(() => {
  closeSync(written);
  rmSync(folder, { recursive: true });
});
afterEach(() => vi.unstubAllGlobals());
const path = join(folder, 'fuzz.safetensors');
/** Written over again and again: some file systems flush a file that is emptied and filled anew. */
const written = openSync(path, 'w');

const uniform = seedrandom('safetensors');
const below = (n: number): number => Math.floor(uniform() * n);
const oneOf = <T>(all: readonly T[]): T => all[below(all.length)];
const several = <T>(most: number, make: (i: number) => T): T[] =>
  Array.from({ length: below(most + 1) }, (_, i) => make(i));

const DTYPES = [...Object.keys(DTYPE_BYTES), 'F4', 'f32', '', 'constructor', '__proto__'];
/** Numbers as JSON text: the ends of what counters and doubles hold, and what is no count at all. */
const NUMBERS = [
  ...['0', '-0', '1', '4', '8', '-1', '-8', '0.5', '1e1', '1e400', '-1e400', '4294967295', '4294967296'],
  ...['9007199254740991', '9007199254740993', '18446744073709551615', 'null', 'true', '"8"', '[]', '{}', 'NaN', '1E2'],
];
const NAMES = [
  'a',
  'b',
  '',
  '__proto__',
  '__metadata__',
  'constructor',
  'line\nbreak',
  '\u0000',
  '\ud800',
  'x'.repeat(300),
  'ß',
];

interface Described {
  name: string;
  dtype: string;
  shape: string[];
  offsets: string[];
}
const textOf = ({ name, dtype, shape, offsets }: Described): string =>
  `${JSON.stringify(name)}:{"dtype":${JSON.stringify(dtype)},"shape":[${shape}],"data_offsets":[${offsets}]}`;

/** A valid description of some tensors, and the bytes that their data takes. */
function valid(): { tensors: Described[]; bytes: number } {
  let end = 0;
  const tensors = several(5, i => {
    const dtype = oneOf(Object.keys(DTYPE_BYTES)) as keyof typeof DTYPE_BYTES;
    const shape = several(3, () => below(5));
    const begin = end;
    end += shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
    return { name: `t${i}`, dtype, shape: shape.map(String), offsets: [String(begin), String(end)] };
  });
  return { tensors, bytes: end };
}

/** A file of a header text and data; `length` lies about the header where it is given. */
function fileOf(header: string | Buffer, dataBytes: number, length?: bigint): Buffer {
  const text = Buffer.from(header);
  const file = Buffer.alloc(8 + text.length + dataBytes);
  file.writeBigUInt64LE(length ?? BigInt(text.length));
  file.set(text, 8);
  return file;
}
const headerOf = (tensors: Described[]): string => `{${tensors.map(textOf).join(',')}}`;

function whole(): Buffer {
  const { tensors, bytes } = valid();
  return fileOf(headerOf(tensors), bytes);
}

/** One part of one description replaced by something from the lists above. */
function disturbed(): Buffer {
  const { tensors, bytes } = valid();
  const hit = oneOf(tensors);
  if (hit) {
    const change = below(6);
    if (change === 0) hit.name = oneOf(NAMES);
    else if (change === 1) hit.dtype = oneOf(DTYPES);
    else if (change === 2) hit.shape.splice(below(hit.shape.length + 1), below(2), oneOf(NUMBERS));
    else if (change === 3) hit.offsets[below(2)] = oneOf(NUMBERS);
    else if (change === 4) hit.offsets.splice(below(3), below(3));
    else hit.offsets = [...oneOf(tensors).offsets];
  }
  return fileOf(headerOf(tensors), bytes);
}

/** Some tensor twice, under its own name or another one. */
function doubled(): Buffer {
  const { tensors, bytes } = valid();
  const again = tensors.slice(0, 1).map(tensor => ({ ...tensor, name: oneOf([tensor.name, 'other']) }));
  return fileOf(headerOf([...tensors, ...again]), bytes);
}

/** Letters of a valid header cut out or put in, line breaks and control characters among them. */
function mutated(): Buffer {
  const { tensors, bytes } = valid();
  let text = headerOf(tensors);
  for (let edits = 1 + below(4); edits > 0; edits--) {
    const at = below(text.length + 1);
    text = text.slice(0, at) + oneOf([...'0123456789[]{}:,"-.eF\\\n\r\t\0 x', '']) + text.slice(at + below(5));
  }
  return fileOf(text, bytes);
}

/** A valid file with bytes anywhere changed, cut short or continued. */
function damaged(): Buffer {
  const { tensors, bytes } = valid();
  const file = fileOf(headerOf(tensors), bytes);
  for (const at of several(3, () => below(uniform() < 0.5 ? 10 : file.length))) file[at] = below(256);
  return Buffer.concat([
    file.subarray(0, uniform() < 0.5 ? below(file.length + 1) : file.length),
    Buffer.alloc(below(3)),
  ]);
}

const LENGTHS = [0n, 1n, 7n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n, BigInt(LARGEST_HEADER)];
const lying = (): Buffer => fileOf(headerOf(valid().tensors), below(20), oneOf(LENGTHS));

const randomJson = (depth: number): string => {
  if (depth === 0 || uniform() < 0.3) return oneOf([...NUMBERS, '"F32"', '"a"', '""', 'false']);
  if (uniform() < 0.4) return `[${several(4, () => randomJson(depth - 1))}]`;
  return `{${several(4, () => `${JSON.stringify(oneOf([...NAMES, 'dtype', 'shape', 'data_offsets']))}:${randomJson(depth - 1)}`)}}`;
};
const anything = (): Buffer => fileOf(randomJson(5), below(20));

function nested(): Buffer {
  const deep = 1 + below(5000);
  const [open, close] = oneOf([
    ['[', ']'],
    ['{"a":', '}'],
  ]);
  const value = open.repeat(deep) + oneOf(['1', '']) + close.repeat(uniform() < 0.5 ? deep : below(deep));
  return fileOf(oneOf([value, `{"t":${value}}`, `{"t":{"dtype":"F32","shape":${value},"data_offsets":[0,4]}}`]), 4);
}

const noise = (): Buffer => Buffer.from(Array.from({ length: below(200) }, () => below(256)));

/** The largest buffer made since it was last set to 0, in bytes. */
let largest = 0;
function watchBuffers(): void {
  for (const name of ['Uint8Array', 'Uint16Array', 'Float32Array', 'ArrayBuffer'] as const) {
    const spy = new Proxy(globalThis[name] as new (...args: unknown[]) => object, {
      construct(target, args) {
        const made = Reflect.construct(target, args) as { byteLength: number };
        largest = Math.max(largest, made.byteLength);
        return made;
      },
    });
    vi.stubGlobal(name, spy);
  }
}

/** The refusal, or null for a file that was read. Whatever else is thrown fails the test. */
function read(file: Buffer): string | null {
  writeSync(written, file, 0, file.length, 0);
  ftruncateSync(written, file.length);
  largest = 0;
  try {
    const { tensors } = readSafetensors(path);
    expect(largest).toBeLessThanOrEqual(file.length);
    for (const entry of tensors.values()) {
      const { start, byteLength, shape, dtype } = entry;
      expect(start + byteLength).toBeLessThanOrEqual(file.length);
      expect(byteLength).toBe(shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]));
      expect(readFloat32(entry)).toHaveLength(byteLength / DTYPE_BYTES[dtype]);
    }
    return null;
  } catch (error) {
    if (!(error instanceof UserError)) throw new Error(`${error} for ${file.toString('latin1').slice(0, 500)}`);
    expect(largest).toBeLessThanOrEqual(file.length);
    return error.message;
  }
}

/** What is left to say of a sentence once the path is out: no line break, no stack, not longer than a paragraph, and an end. */
function isOneSentence(message: string): boolean {
  const mends = ['download it again', 'convert it to one of'];
  return (
    !/\p{Cc}/u.test(message) &&
    message.startsWith(`${path}: `) &&
    message.length < path.length + 700 &&
    mends.some(mend => message.includes(mend))
  );
}

describe('10,000 files', () => {
  test.each<[string, number, () => Buffer, [least: number, most: number]]>([
    ['valid ones', 500, whole, [0, 0]],
    ['descriptions disturbed', 3000, disturbed, [1400, 2900]],
    ['tensors twice', 500, doubled, [150, 500]],
    ['headers mutated', 2500, mutated, [2000, 2500]],
    ['bytes damaged, cut or added', 1500, damaged, [1000, 1500]],
    ['lengths that lie', 500, lying, [400, 500]],
    ['JSON of any kind', 1000, anything, [700, 1000]],
    ['nested', 300, nested, [290, 300]],
    ['noise', 200, noise, [195, 200]],
  ])('%s', (_, runs, make, [least, most]) => {
    watchBuffers();
    const refusals = Array.from({ length: runs }, () => read(make())).filter(refusal => refusal !== null);
    expect(refusals.filter(refusal => !isOneSentence(refusal))).toEqual([]);
    expect(refusals.length).toBeGreaterThanOrEqual(least);
    expect(refusals.length).toBeLessThanOrEqual(most);
  });
});
