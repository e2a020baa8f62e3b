import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { crc32c, maskedCrc32c, openEvents, scalarEvent, tfRecord, versionEvent } from '../../src/train/events.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-events-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** CRC-32C bit by bit, the slow way. */
function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const odd = (crc ^ (byte >> bit)) & 1;
      crc >>>= 1;
      if (odd) crc ^= 0x82f63b78;
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

type Field = { number: number; value: number | Buffer };

/** A reader of protobuf wire format that shares nothing with the writer. */
function fields(bytes: Buffer): Field[] {
  const found: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Buffer => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = varint();
    const [number, wire] = [key >> 3, key & 7];
    if (wire === 0) found.push({ number, value: varint() });
    else if (wire === 1) found.push({ number, value: take(8).readDoubleLE() });
    else if (wire === 5) found.push({ number, value: take(4).readFloatLE() });
    else found.push({ number, value: take(varint()) });
  }
  return found;
}

function records(file: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    const data = file.subarray(at + 12, at + 12 + length);
    const mask = (crc: number): number =>
      Number((((BigInt(crc) >> 15n) | (BigInt(crc) << 17n)) + 0xa282ead8n) & 0xffffffffn);
    expect(file.readUInt32LE(at + 8)).toBe(mask(slowCrc(file.subarray(at, at + 8))));
    expect(file.readUInt32LE(at + 12 + length)).toBe(mask(slowCrc(data)));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

interface Seen {
  wall?: number;
  step?: number;
  version?: string;
  session?: number;
  scalars?: Record<string, number>;
}

function readEvent(record: Buffer): Seen {
  const seen: Seen = {};
  for (const { number, value } of fields(record)) {
    if (number === 1) seen.wall = value as number;
    if (number === 2) seen.step = value as number;
    if (number === 3) seen.version = String(value);
    if (number === 7) seen.session = fields(value as Buffer)[0].value as number;
    if (number === 5)
      seen.scalars = Object.fromEntries(
        fields(value as Buffer).map(entry => {
          const [tag, simple] = fields(entry.value as Buffer);
          return [String(tag.value), simple.value as number];
        }),
      );
  }
  return seen;
}

const events = (path: string): Seen[] => records(readFileSync(path)).map(readEvent);

describe('CRC-32C', () => {
  it('RFC 3720, appendix B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  it('the mask is a rotation and a sum modulo 2³²', () => {
    // Empty input: CRC 0, so the mask is the constant alone.
    expect(maskedCrc32c(new Uint8Array())).toBe(0xa282ead8);
  });
});

describe('event file', () => {
  it('is byte for byte the file that tensorboardX writes for the same values', () => {
    const time = 1700000000.5;
    const ours = Buffer.concat(
      [
        versionEvent(time),
        scalarEvent(time, 1, { 'train/loss': 8.317766 }),
        scalarEvent(time, 300, { 'train/loss': 2.5 }),
        scalarEvent(time, 70000, { 'validation/Ελληνικά': -0.125 }),
      ].map(tfRecord),
    );
    const golden = readFileSync(new URL('../golden/train/tensorboardx.tfevents', import.meta.url));
    expect(ours.toString('hex')).toBe(golden.toString('hex'));
  });

  it('reads back: version first, then every scalar of every step', () => {
    let now = 1000;
    const writer = openEvents({ directory: join(folder, 'new'), clock: () => now++, host: 'box' });
    writer.scalars(0, { 'train/loss': 5.5, 'train/learning_rate': 0.25 });
    writer.scalars(2 ** 40, { 'train/loss': Number.NaN });
    writer.flush();
    expect(events(writer.path)).toEqual([
      { wall: 1001, version: 'brain.Event:2' },
      { wall: 1002, step: 0, scalars: { 'train/loss': 5.5, 'train/learning_rate': 0.25 } },
      { wall: 1003, step: 2 ** 40, scalars: { 'train/loss': Number.NaN } },
    ]);
    writer.close();
  });

  it('a resumed run writes a later file that tells readers to forget steps after the checkpoint', () => {
    const settings = { directory: folder, clock: () => 1000.5, host: 'box' };
    const first = openEvents(settings);
    first.scalars(11, { loss: 1 });
    first.close();
    const before = readFileSync(first.path);
    const second = openEvents({ ...settings, resumeStep: 10 });
    second.close();
    expect(readdirSync(folder)).toEqual([
      'events.out.tfevents.0000001000.box.0000',
      'events.out.tfevents.0000001000.box.0001',
    ]);
    expect(readFileSync(first.path)).toEqual(before);
    expect(events(second.path)[1]).toEqual({ wall: 1000.5, step: 11, session: 1 });
  });
});
