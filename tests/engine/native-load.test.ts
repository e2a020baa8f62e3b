// Loading the native kernels where things are missing or broken: one sentence and no exception; two processes at once.

import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadNative, usualCache, usualHeaders } from '../../src/engine/native/load.ts';
import { nativeHere } from './backends.ts';

const folder = mkdtempSync(join(tmpdir(), 'moe-load-'));
/** Needs a C compiler; native-backend.test.ts asserts what is said where there is none. */
const withCompiler = test.runIf(nativeHere.works);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function program(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

function why(places: Parameters<typeof loadNative>[0]): string {
  const loaded = loadNative(places);
  expect(loaded.works).toBe(false);
  expect(loaded.why).toMatch(/^[A-Z/].*[^.]\.$/);
  expect(loaded.why).not.toContain('\n');
  return loaded.why;
}

test('no compiler', () => {
  expect(why({ cache: join(folder, 'none'), compilers: [join(folder, 'absent')] })).toMatch(/^No C compiler was found/);
});

test('a compiler that fails, and one that makes nothing or rubbish', () => {
  const cache = join(folder, 'broken');
  const version = 'case "$1" in --version) echo fake; exit 0;; esac';
  const failing = program('failing', `${version}; echo "x.c:1: error: no memory" >&2; exit 1`);
  expect(why({ cache, compilers: [failing] })).toContain('does not compile the C kernels: x.c:1: error: no memory.');
  expect(why({ cache, compilers: [program('idle', version)] })).toContain('it gave no reason.');
  const rubbish = program('rubbish', `${version}; for last; do :; done; echo rubbish > "$last"`);
  expect(why({ cache, compilers: [rubbish] })).toMatch(/^The C kernels do not load: /);
  expect(readdirSync(cache).filter(name => !name.endsWith('.node'))).toEqual([]);
});

withCompiler('no headers', () => {
  expect(why({ cache: join(folder, 'none'), headers: [folder] })).toContain('node_api.h is in none of');
});

withCompiler('a cache that cannot be made, and a library that cannot be written into it', () => {
  writeFileSync(join(folder, 'file'), '');
  expect(why({ cache: join(folder, 'file', 'cache') })).toMatch(/^The C kernels cannot be kept in /);
  const locked = join(folder, 'locked');
  mkdirSync(locked);
  const closed = program(
    'closed',
    'case "$1" in --version) echo x;; *) echo "ld: error: Permission denied" >&2; exit 1;; esac',
  );
  expect(why({ cache: locked, compilers: [closed] })).toContain('Permission denied.');
});

withCompiler('three processes compile into one cache at once, and all of them load', { timeout: 60_000 }, async () => {
  const cache = join(folder, 'shared');
  const load = join(import.meta.dirname, '../../src/engine/native/load.ts');
  const script = `const { loadNative } = await import(${JSON.stringify(load)});
    const loaded = loadNative({ cache: ${JSON.stringify(cache)} });
    if (loaded.works) loaded.kernels.setThreads(2);
    console.log(loaded.works);`;
  const outcomes = await Promise.all(
    [1, 2, 3].map(
      () =>
        new Promise<string>(resolve => {
          const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
          let said = '';
          child.stdout.on('data', data => {
            said += data;
          });
          child.on('close', code => resolve(`${said.trim()} ${code}`));
        }),
    ),
  );
  expect(outcomes).toEqual(['true 0', 'true 0', 'true 0']); // and the idle threads let Node end
  expect(readdirSync(cache)).toHaveLength(1);
});

test('the usual places', () => {
  expect(usualCache({ XDG_CACHE_HOME: '/x' }, '/home/ada')).toBe(join('/x', 'language-family-moe'));
  expect(usualCache({}, '/home/ada').startsWith('/home/ada')).toBe(true);
  expect(usualHeaders('/home/ada').at(-1) ?? '').toMatch(/include/);
});
