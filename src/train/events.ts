// TensorBoard event files: a sequence of TFRecords, each one protobuf Event.
//   TFRecord: uint64 length, uint32 masked CRC-32C of those 8 bytes, data, uint32 masked CRC-32C of the data (little-endian)
//   mask(c) = rotate right(c, 15) + 0xa282ead8                    CRC-32C: RFC 3720, appendix B.4
//   Event: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log
//   Summary: 1 value { 1 tag string, 2 simple_value float }        SessionLog: 1 status (START = 1)
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../make-folder.ts';

export interface EventWriter {
  /** Full path of the file. */
  path: string;
  /** One Event with these values; tags such as `train/loss`. */
  scalars(step: number, values: Record<string, number>): void;
  /** Forces what was written to disk. */
  flush(): void;
  close(): void;
}

export interface EventFileSettings {
  directory: string;
  /** Seconds since 1970. */
  clock: () => number;
  /** Machine name, part of the file's name. */
  host: string;
  /** The step that a resumed run goes on from: TensorBoard then forgets later steps of older files. */
  resumeStep?: number;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli) of the bytes, unsigned. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** CRC-32C as TFRecords store it. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Frames one record. */
export function tfRecord(data: Uint8Array): Buffer {
  const record = Buffer.alloc(data.length + 16);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(data, 12);
  record.writeUInt32LE(maskedCrc32c(data), data.length + 12);
  return record;
}

/** Little-endian base-128 of a non-negative integer below 2⁵³. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

const field = (number: number, wireType: number): Buffer => varint(number * 8 + wireType);
const integerField = (number: number, value: number): Buffer => Buffer.concat([field(number, 0), varint(value)]);
function doubleField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([field(number, 1), bytes]);
}
function floatField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([field(number, 5), bytes]);
}
function bytesField(number: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as Uint8Array);
  return Buffer.concat([field(number, 2), varint(bytes.length), bytes]);
}

const event = (wallTime: number, step: number, content: Buffer): Buffer =>
  Buffer.concat([doubleField(1, wallTime), integerField(2, step), content]);

/** Protobuf of the Event that opens every file. */
export const versionEvent = (wallTime: number): Buffer =>
  Buffer.concat([doubleField(1, wallTime), bytesField(3, 'brain.Event:2')]);

/** Protobuf of an Event with one scalar per tag. */
export function scalarEvent(wallTime: number, step: number, values: Record<string, number>): Buffer {
  const summary = Object.entries(values).map(([tag, value]) =>
    bytesField(1, Buffer.concat([bytesField(1, tag), floatField(2, value)])),
  );
  return event(wallTime, step, bytesField(5, Buffer.concat(summary)));
}

/** Protobuf of the Event by which TensorBoard drops everything it has read for `step` and later. */
export const restartEvent = (wallTime: number, step: number): Buffer =>
  event(wallTime, step, bytesField(7, integerField(1, 1)));

/** The first free name: TensorBoard reads a folder's files in the order of their names. */
function openNew(directory: string, seconds: number, host: string): { path: string; file: number } {
  const stem = `events.out.tfevents.${String(Math.floor(seconds)).padStart(10, '0')}.${host}`;
  for (let number = 0; ; number++) {
    const path = join(directory, `${stem}.${String(number).padStart(4, '0')}`);
    try {
      return { path, file: openSync(path, 'ax') };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** Opens a new event file in `directory` (made if missing). A resumed run gets a file of its own; old files are not touched. */
export function openEvents({ directory, clock, host, resumeStep }: EventFileSettings): EventWriter {
  makeFolder(directory);
  const { path, file } = openNew(directory, clock(), host);
  const append = (data: Uint8Array): void => void writeSync(file, tfRecord(data));
  append(versionEvent(clock()));
  if (resumeStep !== undefined) append(restartEvent(clock(), resumeStep + 1));
  return {
    path,
    scalars: (step, values) => append(scalarEvent(clock(), step, values)),
    flush: () => fsyncSync(file),
    close: () => closeSync(file),
  };
}
