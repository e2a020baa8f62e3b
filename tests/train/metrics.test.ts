import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { openMetrics, readMetrics } from '../../src/train/metrics.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-metrics-'));
  path = join(folder, 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const train = (step: number, loss: number) => ({ step, kind: 'train' as const, loss });
function write(steps: number[], resumeStep?: number): void {
  const metrics = openMetrics(path, resumeStep);
  for (const step of steps) metrics.write(train(step, 10 - step));
  metrics.flush();
  metrics.close();
}

describe('metrics file', () => {
  it('a crash and a resume leave the file of an unbroken run, byte for byte', () => {
    write([1, 2, 3, 4, 5, 6]);
    const unbroken = readFileSync(path, 'utf8');
    rmSync(path);
    write([1, 2, 3, 4, 5]);
    appendFileSync(path, '{"step":6,"kind":"tr');
    write([4, 5, 6], 3);
    expect(readFileSync(path, 'utf8')).toBe(unbroken);
    expect(existsSync(`${path}.tmp`)).toBe(false);
  });

  it('a last line cut anywhere, even just before its line feed, is dropped', () => {
    write([1, 2]);
    const text = readFileSync(path, 'utf8');
    for (let length = 0; length <= text.length; length++) {
      writeFileSync(path, text.slice(0, length));
      const whole = text.slice(0, length).split('\n').length - 1;
      expect(readMetrics(path).map(record => record.step)).toEqual([1, 2].slice(0, whole));
    }
  });

  it('keeps validation and routing lines of the checkpoint step itself', () => {
    const metrics = openMetrics(path);
    metrics.write(train(2, 1));
    metrics.write({ step: 2, kind: 'validation', loss: Number.NaN });
    metrics.write({ step: 3, kind: 'routing' });
    metrics.close();
    openMetrics(path, 2).close();
    expect(readMetrics(path)).toEqual([train(2, 1), { step: 2, kind: 'validation', loss: null }]);
  });

  it('resuming where the file is gone starts a new one', () => {
    write([4], 3);
    expect(readMetrics(path)).toEqual([train(4, 6)]);
  });

  it('refuses a new run over an old file, and a spoilt line by its number', () => {
    write([1]);
    expect(() => openMetrics(path)).toThrow(UserError);
    appendFileSync(path, 'oops\n');
    expect(() => openMetrics(path, 1)).toThrow(/metrics\.jsonl:2: not a metrics line/);
    expect(() => readMetrics(path)).toThrow(UserError);
  });
});
