import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { writeFileAtomically, writeFolderAtomically } from '../../src/hub/atomic.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-atomic-'));
afterAll(() => rmSync(folder, { recursive: true }));
let parent: string;
let target: string;
beforeEach(() => {
  parent = mkdtempSync(join(folder, 'case-'));
  target = join(parent, 'step-000100');
});
const put = (text: string) => (dir: string) => {
  mkdirSync(join(dir, 'deep'));
  writeFileSync(join(dir, 'deep', 'file'), text);
};
const held = () => readFileSync(join(target, 'deep', 'file'), 'utf8');
const fail = (code: string) => () => {
  throw Object.assign(new Error(`${code}: injected`), { code });
};

describe('a folder', () => {
  it('appears whole, under its name alone', async () => {
    let during: string[] = [];
    await writeFolderAtomically(target, dir => {
      put('one')(dir);
      during = readdirSync(parent);
    });
    expect(during).toEqual(['.step-000100.partial']);
    expect(readdirSync(parent)).toEqual(['step-000100']);
    expect(held()).toBe('one');
  });
  it('takes the place of an old one', async () => {
    await writeFolderAtomically(target, put('one'));
    await writeFolderAtomically(target, put('two'));
    expect(held()).toBe('two');
    expect(readdirSync(parent)).toEqual(['step-000100']);
  });
  it('is untouched when the writer throws', async () => {
    await writeFolderAtomically(target, put('one'));
    const broken = writeFolderAtomically(target, async dir => {
      put('two')(dir);
      throw new Error('stop');
    });
    await expect(broken).rejects.toThrow('stop');
    expect(held()).toBe('one');
    expect(readdirSync(parent)).toEqual(['step-000100']);
  });
  it('says what to do when the disk is full', async () => {
    await expect(writeFolderAtomically(target, fail('ENOSPC'), { goOn: 'resume run' })).rejects.toThrow(
      `the disk that holds ${target} is full: nothing there was changed; free space and resume run.`,
    );
    await expect(writeFolderAtomically(target, fail('EDQUOT'))).rejects.toMatchObject({ name: 'UserError' });
    await expect(writeFolderAtomically(target, fail('EIO'))).rejects.toMatchObject({ code: 'EIO', name: 'Error' });
    expect(readdirSync(parent)).toEqual([]);
  });
  it('clears what a crash left', async () => {
    put('half')(mkdirSync(join(parent, '.step-000100.partial'), { recursive: true })!);
    await writeFolderAtomically(target, put('one'));
    expect(readdirSync(parent)).toEqual(['step-000100']);
    expect(held()).toBe('one');
  });
  it('gives an old folder its name back after a crash between the renames', async () => {
    put('old')(mkdirSync(join(parent, '.step-000100.old'), { recursive: true })!);
    await expect(writeFolderAtomically(target, fail('ENOSPC'))).rejects.toThrow('is full');
    expect(held()).toBe('old');
    expect(readdirSync(parent)).toEqual(['step-000100']);
  });
});

describe('a file', () => {
  it('is replaced whole or not at all', async () => {
    const path = join(parent, 'config.json');
    await writeFileAtomically(path, partial => writeFileSync(partial, 'one'));
    const broken = writeFileAtomically(path, partial => {
      writeFileSync(partial, 'tw');
      fail('ENOSPC')();
    });
    await expect(broken).rejects.toThrow(`the disk that holds ${path} is full`);
    expect(readFileSync(path, 'utf8')).toBe('one');
    await writeFileAtomically(path, partial => writeFileSync(partial, 'two'));
    expect(readFileSync(path, 'utf8')).toBe('two');
    expect(readdirSync(parent)).toEqual(['config.json']);
  });
});
