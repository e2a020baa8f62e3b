// metrics.jsonl: one JSON object per line, appended as the run goes. After a crash the file may hold steps beyond the
// checkpoint and half a last line; opening it for a resume cuts both away, so that it reads as one unbroken run.
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { UserError } from '../errors.ts';

export interface MetricsRecord {
  step: number;
  kind: 'train' | 'validation' | 'routing';
  [measure: string]: unknown;
}

export interface MetricsFile {
  /** Appends one line. A number that is not finite is written as null. */
  write(record: MetricsRecord): void;
  /** Forces what was written to disk; call it before a checkpoint of the same step is saved. */
  flush(): void;
  close(): void;
}

function parseLine(path: string, line: string, number: number): MetricsRecord {
  try {
    const record = JSON.parse(line) as MetricsRecord;
    if (typeof record?.step === 'number') return record;
  } catch {}
  throw new UserError(`${path}:${number}: not a metrics line (JSON with a step); move the file away or restore it.`);
}

/**
 * All whole lines of a metrics file; a half-written last line (no line feed) is left out.
 * Throws UserError naming file and line when another line is not a record.
 */
export function readMetrics(path: string): MetricsRecord[] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line, index) => parseLine(path, line, index + 1));
}

function cutAfter(path: string, step: number): void {
  const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  const kept = whole.filter((line, index) => parseLine(path, line, index + 1).step <= step);
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, kept.map(line => `${line}\n`).join(''), { flush: true });
  renameSync(temporary, path);
}

/**
 * Opens `path` for appending. `resumeStep` is the step of the checkpoint that the run goes on from: later lines are cut.
 * Without it the run is new and the file must not exist yet (UserError). Write all records of a step before its checkpoint is
 * saved: a record of the checkpoint's own step is kept, never written again.
 */
export function openMetrics(path: string, resumeStep?: number): MetricsFile {
  if (resumeStep === undefined && existsSync(path))
    throw new UserError(`${path} already exists: choose another --out, or go on with that run by --resume.`);
  if (resumeStep !== undefined && existsSync(path)) cutAfter(path, resumeStep);
  const file = openSync(path, 'a');
  return {
    write: record => void writeSync(file, `${JSON.stringify(record)}\n`),
    flush: () => fsyncSync(file),
    close: () => closeSync(file),
  };
}
