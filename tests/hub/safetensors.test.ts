import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { openCheckpoint, readBytes, readFloat32, readInt32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { buildHeader, parseHeader } from '../../src/hub/safetensors.ts';
import type { TensorSource } from '../../src/hub/write-safetensors.ts';
import { writeSafetensors } from '../../src/hub/write-safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-hub-'));
afterAll(() => rmSync(folder, { recursive: true }));
const golden = (name: string) => fileURLToPath(new URL(`../golden/hub/${name}`, import.meta.url));
const f32 = (name: string, shape: number[], values: number[], dtype: TensorSource['dtype'] = 'F32'): TensorSource => ({
  name,
  dtype,
  shape,
  values: () => Float32Array.from(values),
});

/** A file with this header text (length prefix made right unless given) and `dataBytes` zero bytes after it. */
function fileOf(header: string | Uint8Array, dataBytes = 0, claimed?: bigint): string {
  const text = Buffer.from(header);
  const bytes = Buffer.alloc(8 + text.length + dataBytes);
  bytes.writeBigUInt64LE(claimed ?? BigInt(text.length));
  bytes.set(text, 8);
  const path = join(folder, 'hostile.safetensors');
  writeFileSync(path, bytes);
  return path;
}
const refused = (path: string): string => {
  try {
    readSafetensors(path);
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message.replace(`${path}: `, '');
  }
  return 'accepted';
};

describe('files written by the reference library', () => {
  const { metadata, tensors } = readSafetensors(golden('small.safetensors'));
  const float = (name: string) => Array.from(readFloat32(tensors.get(name)!));
  it('are read, every dtype', () => {
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors.size).toBe(16);
    expect(tensors.get('b.weight')).toMatchObject({ dtype: 'F32', shape: [2, 3] });
    expect(float('b.weight')).toEqual([-0.5, -0.25, 0, 0.25, 0.5, 0.75]);
    expect(float('a.bias')).toEqual([1.5, -2.25]);
    expect(float('naïve.ß')).toEqual([1, 3.140625]);
    expect(tensors.get('scalar')!.shape).toEqual([]);
    expect(float('scalar')).toEqual([7]);
    expect(float('empty')).toEqual([]);
    expect(float('f64')).toEqual([Math.fround(0.1), Number.NEGATIVE_INFINITY]);
    expect(float('i8')).toEqual([-128, 127, 5]);
    expect(float('u32')).toEqual([2 ** 32]);
    expect(float('i64')).toEqual([-5, 2 ** 40]);
    expect(float('bool')).toEqual([1, 0, 1]);
    expect(Array.from(readBytes(tensors.get('u8')!))).toEqual([0, 255, 3]);
    const whole = (name: string) => Array.from(readInt32(tensors.get(name)!));
    expect([whole('ids'), whole('i16'), whole('u16'), whole('u64')]).toEqual([
      [-1, 2 ** 31 - 1, -(2 ** 31)],
      [-32768, 32767],
      [65535],
      [7],
    ]);
    expect(() => whole('i64')).toThrow(/tensor "i64" holds 1099511627776, which 32 bits cannot/);
    expect(() => whole('a.bias')).toThrow(/is F16, but whole numbers are needed/);
  });
  it('are what our writer writes, byte for byte', async () => {
    const source = readSafetensors(golden('floats.safetensors'));
    const copies = [...source.tensors.values()].reverse().map(entry => ({
      name: entry.name,
      dtype: entry.dtype as TensorSource['dtype'],
      shape: entry.shape,
      values: () => (entry.dtype === 'I32' ? readInt32(entry) : readFloat32(entry)),
    }));
    const path = join(folder, 'copy.safetensors');
    await writeSafetensors(path, copies, source.metadata);
    expect(readFileSync(path)).toEqual(readFileSync(golden('floats.safetensors')));
  });
});

describe('writing', () => {
  it('round-trips, whatever the order, and never depends on it', async () => {
    const tensor = fc.record({
      name: fc.string({ unit: 'grapheme', maxLength: 8 }).filter(name => name !== '__metadata__'),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
    });
    let file = 0;
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(tensor, { selector: t => t.name, maxLength: 6 }), async shapes => {
        const tensors = shapes.map(({ name, shape }, i) => {
          const count = shape.reduce((a, b) => a * b, 1);
          return f32(
            name,
            shape,
            Array.from({ length: count }, (_, j) => Math.fround(Math.sin(i + j))),
          );
        });
        const paths = [join(folder, `rt${file++}`), join(folder, `rt${file++}`)];
        await writeSafetensors(paths[0], tensors, { b: '2', a: '1' });
        await writeSafetensors(paths[1], [...tensors].reverse(), { a: '1', b: '2' });
        expect(readFileSync(paths[0])).toEqual(readFileSync(paths[1]));
        const back = readSafetensors(paths[0]);
        expect([...back.tensors.keys()].sort()).toEqual(tensors.map(t => t.name).sort());
        for (const { name, shape, values } of tensors) {
          expect(back.tensors.get(name)!.shape).toEqual(shape);
          expect(readFloat32(back.tensors.get(name)!)).toEqual(values());
        }
        for (const path of paths) rmSync(path);
      }),
      { numRuns: 50 },
    );
  });
  it('asks for a tensor only when its turn comes, one at a time', async () => {
    const asked: string[] = [];
    const lazy = (name: string): TensorSource => ({
      name,
      dtype: 'F32',
      shape: [1],
      values: async () => {
        asked.push(name);
        return Float32Array.of(1);
      },
    });
    await writeSafetensors(join(folder, 'lazy'), [lazy('b'), lazy('a')]);
    expect(asked).toEqual(['a', 'b']);
  });
  it('starts the data at a multiple of 8, widest types first', () => {
    const header = buildHeader([{ name: 'x', dtype: 'F32', shape: [1] }], { k: 'v' });
    expect(header.length % 8).toBe(0);
    expect(Buffer.from(header.subarray(8)).toString().trimEnd()).toBe(
      '{"__metadata__":{"k":"v"},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    );
  });
  it('refuses a name given twice, a wrong count and a wrong type', async () => {
    const path = join(folder, 'refused');
    await expect(writeSafetensors(path, [f32('x', [1], [1]), f32('x', [1], [2])])).rejects.toThrow(
      'cannot save two tensors under the name "x"; name each once',
    );
    await expect(writeSafetensors(`${path}1`, [f32('x', [2], [1])])).rejects.toThrow(
      /of shape \[2\] was given 1 values/,
    );
    await expect(writeSafetensors(`${path}2`, [f32('x', [1], [1], 'I32')])).rejects.toThrow(/are a Float32Array/);
  });
});

describe('hostile files', () => {
  const entry = (shape: string, offsets: string, dtype = '"F32"') =>
    `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;
  const mend = '; the file is damaged or not safetensors; copy or download it again';
  it.each([
    ['[]', 0, `the header is not a JSON object${mend}`],
    ['{"x":[]}', 0, `tensor "x" is not described by an object${mend}`],
    [`{"x":${entry('[1]', '[0,4]')},"x":${entry('[1]', '[4,8]')}}`, 8, `the header has "x" twice${mend}`],
    [`{"x":${entry('[1]', '[0,4]')},"\\u0078":${entry('[1]', '[4,8]')}}`, 8, `the header has "x" twice${mend}`],
    [`{"x":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}`, 4, `the header has "dtype" twice${mend}`],
    [`{"x":${entry('[-1]', '[0,4]')}}`, 4, `tensor "x" has shape [-1], not a list of whole numbers from 0 up${mend}`],
    [`{"x":${entry('[0.5]', '[0,2]')}}`, 2, `tensor "x" has shape [0.5], not a list of whole numbers from 0 up${mend}`],
    [
      `{"x":${entry('[1e99]', '[0,4]')}}`,
      4,
      `tensor "x" has shape [1e+99], not a list of whole numbers from 0 up${mend}`,
    ],
    [`{"x":${entry('[1]', '[4,0]')}}`, 4, `tensor "x" has data_offsets [4,0], not a begin and an end${mend}`],
    [`{"x":${entry('[1]', '[0]')}}`, 4, `tensor "x" has data_offsets [0], not a begin and an end${mend}`],
    [
      `{"x":${entry('[3]', '[0,8]')}}`,
      8,
      `tensor "x" of shape [3] and dtype F32 needs 12 bytes but its data_offsets span 8${mend}`,
    ],
    [
      `{"x":${entry('[4294967296,4294967296]', '[0,0]')}}`,
      0,
      `tensor "x" of shape [4294967296,4294967296] and dtype F32 needs 73786976294838210000 bytes but its data_offsets span 0${mend}`,
    ],
    [`{"x":${entry('[1]', '[0,4]')},"y":${entry('[1]', '[2,6]')}}`, 6, `tensor "y" overlaps the one before it${mend}`],
    [
      `{"x":${entry('[1]', '[0,4]')},"y":${entry('[1]', '[6,10]')}}`,
      10,
      `there is a hole of 2 bytes before tensor "y"${mend}`,
    ],
    [`{"x":${entry('[1]', '[0,4]')}}`, 5, `1 bytes at the end belong to no tensor${mend}`],
    ['{"__metadata__":{"a":1}}', 0, `"__metadata__" is not a map of strings${mend}`],
    [
      `{"x":${entry('[1]', '[0,1]', '"F8_E8M0"')}}`,
      1,
      'tensor "x" has dtype "F8_E8M0"; convert it to one of BOOL U8 I8 F8_E5M2 F8_E4M3 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64',
    ],
  ])('%s', (header, dataBytes, message) => {
    expect(refused(fileOf(header, dataBytes))).toBe(message);
  });
  it('a header length that lies, no JSON, no file, a file cut short', () => {
    expect(refused(fileOf('{}', 0, 100n))).toBe(`the header claims 100 bytes, but the file has only 10 in all${mend}`);
    expect(refused(fileOf('{}', 0, 2n ** 63n))).toBe(
      `the header claims ${2n ** 63n} bytes, more than 100000000${mend}`,
    );
    expect(refused(fileOf('{"x":'))).toMatch(/^the header is not JSON \(.*\); the file is damaged/);
    expect(refused(fileOf(Buffer.of(0x7b, 0xff, 0x7d)))).toMatch(/^the header is not JSON/);
    const nested = `{"x":{"dtype":"F32","shape":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`;
    expect(refused(fileOf(nested))).toBe(`the header is nested more than 8 deep${mend}`);
    expect(refused(join(folder, 'absent'))).toBe(`cannot open ${join(folder, 'absent')} (ENOENT); check the path`);
    expect(refused(folder)).toBe(`${folder} is not a file; name a .safetensors file`);
    const path = fileOf(`{"x":${entry('[2]', '[0,8]')}}`, 8);
    const { tensors } = readSafetensors(path);
    truncateSync(path, 64);
    expect(() => readFloat32(tensors.get('x')!)).toThrow('has become shorter while it was read');
    expect(refused(path)).toMatch(/^tensor "x" ends at byte \d+ of a file of 64: the file is cut short/);
    truncateSync(path, 5);
    expect(refused(path)).toBe(`it has 5 bytes, fewer than a header's length takes${mend}`);
  });
  it('survives 3,000 mutated headers: reads whole files or gives a UserError', () => {
    const seed = Buffer.from(readFileSync(golden('floats.safetensors')));
    const length = Number(seed.readBigUInt64LE());
    const header = seed.subarray(8, 8 + length);
    const edit = fc.record({
      at: fc.nat(length - 1),
      cut: fc.nat(6),
      put: fc.constantFrom(...'0123456789[]{}:,"-.eF\\ \0x'),
    });
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.nat(64), (edits, extra) => {
        let text = header.toString('latin1');
        for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        const fileBytes = seed.length - extra;
        try {
          const { tensors } = parseHeader(Buffer.from(text, 'latin1'), fileBytes, 'f');
          for (const { start, byteLength } of tensors.values())
            expect(start + byteLength).toBeLessThanOrEqual(fileBytes);
          accepted++;
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          expect(error.message).not.toContain('\n');
          expect(error.message.length).toBeLessThan(600);
        }
      }),
      { numRuns: 3000, seed: 1 },
    );
    expect(accepted).toBeLessThan(300);
  });
});

describe('damaged files', () => {
  it('are refused or read, wherever random bytes fall and wherever they end', () => {
    const whole = readFileSync(golden('small.safetensors'));
    const path = join(folder, 'damaged.safetensors');
    const hit = fc.record({ at: fc.oneof(fc.nat(15), fc.nat(whole.length - 1)), byte: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(hit, { minLength: 1, maxLength: 3 }), fc.nat(2 * whole.length), (hits, length) => {
        const bytes = Buffer.from(whole);
        for (const { at, byte } of hits) bytes[at] = byte;
        writeFileSync(path, bytes.subarray(0, length));
        try {
          for (const entry of readSafetensors(path).tensors.values()) {
            expect(entry.start + entry.byteLength).toBeLessThanOrEqual(bytes.length);
            readFloat32(entry);
          }
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
        }
      }),
      { numRuns: 500, seed: 2 },
    );
  });
});

describe('checkpoints', () => {
  it('in shards look like one file', async () => {
    const dir = mkdtempSync(join(folder, 'shards-'));
    await writeSafetensors(join(dir, 'model-1.safetensors'), [f32('a', [2], [1, 2])]);
    await writeSafetensors(join(dir, 'model-2.safetensors'), [f32('b', [1], [3], 'BF16')]);
    const index = (map: unknown) => writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify(map));
    index({ metadata: { total_size: 10 }, weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' } });
    const { tensors } = openCheckpoint(dir);
    expect([...tensors.values()].map(entry => [entry.name, ...readFloat32(entry)])).toEqual([
      ['a', 1, 2],
      ['b', 3],
    ]);
    index({ weight_map: { c: 'model-1.safetensors' } });
    expect(() => openCheckpoint(dir)).toThrow(/places tensor "c" in model-1.safetensors, which lacks it/);
    index({ weight_map: { a: '../model-1.safetensors' } });
    expect(() => openCheckpoint(dir)).toThrow(/a shard must be a file beside it/);
    index([]);
    expect(() => openCheckpoint(dir)).toThrow(/has no "weight_map"/);
    writeFileSync(join(dir, 'model.safetensors.index.json'), '{"weight_map":\n\nx}');
    expect(() => openCheckpoint(dir)).toThrow(/^cannot read the checkpoint index [^\n]*; fetch it again$/);
    index({ weight_map: { a: 'absent' } });
    expect(() => openCheckpoint(dir)).toThrow(/absent \(ENOENT\)/);
  });
  it('as one file, by folder or by name', async () => {
    const dir = mkdtempSync(join(folder, 'single-'));
    expect(() => openCheckpoint(dir)).toThrow(/is not a checkpoint: it has neither/);
    await writeSafetensors(join(dir, 'model.safetensors'), [f32('a', [1], [5])]);
    expect(openCheckpoint(dir)).toEqual(openCheckpoint(join(dir, 'model.safetensors')));
  });
});
