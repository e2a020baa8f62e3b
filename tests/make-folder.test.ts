// mkdir -p that also returns where no folder can be.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeFolder } from '../src/make-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-folder-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('makes what is missing, twice over', () => {
  const deep = join(folder, 'a', 'b', 'c');
  makeFolder(deep);
  makeFolder(deep);
  expect(existsSync(deep)).toBe(true);
});

test('a file in the way, and a place where nothing can be made, throw at once', () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  expect(() => makeFolder(file)).toThrow('EEXIST');
  expect(() => makeFolder(join(file, 'below'))).toThrow('EEXIST');
  if (process.platform === 'linux')
    expect(() => makeFolder('/proc/nowhere/below')).toThrow('The folder /proc/nowhere cannot be made');
});
