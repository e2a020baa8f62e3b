// Loading the native kernels where things are missing or broken: one sentence and no exception; no half library is left
// and no wrong one is taken; two processes at once.

import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadNative, type NativePlaces, usualCache, usualHeaders } from '../../src/engine/library/native.ts';
import { tf } from '../../src/engine/tf.ts';
import { nativeHere, cache as sharedCache, use } from './backends.ts';

const LOADER = join(import.meta.dirname, '../../src/engine/library/native.ts');
const folder = mkdtempSync(join(tmpdir(), 'moe-load-'));
chmodSync(folder, 0o755); // for the test that runs as another user
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A compiler of our own: a shell script. `$last` is the file that it is asked to write. */
function program(name: string, text: string): string {
  const file = join(folder, name);
  const answer = 'case "$1" in --version) echo made up; exit 0;; esac; for last; do :; done';
  writeFileSync(file, `#!/bin/sh\n${answer}\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

/** Why it does not load: one sentence. */
async function why(places: NativePlaces): Promise<string> {
  const loaded = await loadNative(places);
  expect(loaded.works).toBe(false);
  expect(loaded.why).toMatch(/^[A-Z/][^\n]*[^.]\.$/);
  return loaded.why;
}

const listed = (cache: string): string[] => (existsSync(cache) ? readdirSync(cache) : []);

test('native works where a C compiler is, and says in one sentence that it runs or why not', () => {
  const compiler = ['cc', 'gcc', 'clang'].some(name => spawnSync(name, ['--version']).status === 0);
  expect(nativeHere).toMatchObject({ works: compiler && process.platform !== 'win32' });
  expect(nativeHere.why).toMatch(nativeHere.works ? /^C kernels for \S+ on one thread\.$/ : /^[^\n]+\.$/);
});

describe('compilers that do not serve', () => {
  test('none', async () => {
    const places = { cache: join(folder, 'none'), compilers: [join(folder, 'absent'), 'cc-of-nobody'] };
    expect(await why(places)).toBe(
      `No C compiler was found (tried ${join(folder, 'absent')}, cc-of-nobody); install gcc or clang.`,
    );
    expect(existsSync(places.cache)).toBe(false);
  });

  test.each([
    ['fails', 'echo "x.c:1: error: no memory" >&2; exit 1', 'does not compile the C kernels: x.c:1: error: no memory.'],
    ['fails without a word', 'exit 1', 'does not compile the C kernels: it gave no reason.'],
    ['writes nothing', 'exit 0', 'does not compile the C kernels: it wrote nothing.'],
    ['writes rubbish', 'echo rubbish > "$last"', 'The C kernels do not load: '],
    [
      'dies half-way',
      'head -c 5000 /dev/zero > "$last"; kill -9 $$',
      'does not compile the C kernels: it gave no reason.',
    ],
    [
      'dies half-way through the library',
      'head -c 5000 /dev/zero > "$last"; case "$last" in *.o) ;; *) echo "ld: error: terminated" >&2; kill -9 $$;; esac',
      'does not compile the C kernels: ld: error: terminated.',
    ],
  ])('one that %s', async (name, text, sentence) => {
    const cache = join(folder, name);
    const places = { cache, compilers: [program(`cc ${name}`, text)] };
    for (const time of ['first', 'second']) expect(await why(places), time).toContain(sentence);
    expect(listed(cache)).toEqual([]);
  });

  test('one that fails is named when a later one is not tried', async () => {
    const failing = program('cc first', 'echo "fatal error: stdbool.h: No such file" >&2; exit 1');
    expect(await why({ cache: join(folder, 'first'), compilers: ['cc-of-nobody', failing] })).toBe(
      `${failing} does not compile the C kernels: fatal error: stdbool.h: No such file.`,
    );
  });

  test('native is then refused by name, and auto takes wasm and says why', async () => {
    const native = { cache: join(folder, 'none'), compilers: ['cc-of-nobody'] };
    await use('cpu');
    await expect(use('native', { native })).rejects.toThrow(
      "Backend 'native' cannot be used: No C compiler was found (tried cc-of-nobody); install gcc or clang. Try --backend auto.",
    );
    expect(tf.getBackend()).toBe('cpu');
    const { name, why, candidates } = await use('auto', { native });
    expect(name).toBe('wasm');
    expect(why).toMatch(
      /^WebAssembly kernels for .* Not native: No C compiler was found \(tried cc-of-nobody\); install gcc or clang\.$/,
    );
    expect(candidates.find(candidate => candidate.name === 'native')).toEqual({
      name: 'native',
      works: false,
      why: 'No C compiler was found (tried cc-of-nobody); install gcc or clang.',
    });
    await use('cpu');
  });
});

describe.runIf(nativeHere.works)('with a compiler', () => {
  const good = join(folder, 'good');
  let compilers: string[]; // one that "compiles" by copying what a real one has made, as that takes seconds
  let library = '';
  beforeAll(async () => {
    const { why } = await loadNative({ cache: sharedCache });
    const [, made] = /compiled into (.*)\.$/.exec(why)!;
    compilers = [program('cc copies', `sleep 0.1; cp "${made}" "$last"`)];
    expect((await loadNative({ cache: good, compilers })).works).toBe(true);
    library = readdirSync(good)[0];
  });

  /** A cache of one file: the good library's name, and what is made of its bytes. */
  function cacheOf(name: string, change: (bytes: Buffer) => Buffer, file = library): string {
    const cache = join(folder, name);
    mkdirSync(cache);
    writeFileSync(join(cache, file), change(readFileSync(join(good, library))));
    return cache;
  }
  const neverCompiles = (name: string): string => program(name, 'echo "error: asked to compile" >&2; exit 1');

  test('no headers', async () => {
    expect(await why({ cache: join(folder, 'headless'), headers: [folder, '/nowhere'] })).toBe(
      `Node's header node_api.h is in none of ${folder}, /nowhere; run npm ci again.`,
    );
  });

  test('a cache that is a file, and one inside a file', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    expect(await why({ cache: file })).toContain(`The C kernels cannot be kept in ${file}: EEXIST`);
    expect(await why({ cache: join(file, 'cache') })).toContain('The C kernels cannot be kept in ');
  });

  test('what is in the cache is taken as it is', async () => {
    const before = statSync(join(good, library)).ino;
    const announced: string[] = [];
    const loaded = await loadNative({
      cache: good,
      compilers,
      headers: [],
      announce: sentence => announced.push(sentence),
    });
    expect(loaded).toMatchObject({ works: true });
    expect([announced, readdirSync(good), statSync(join(good, library)).ino]).toEqual([[], [library], before]);
  });

  test.each([
    ['cut short', (bytes: Buffer) => bytes.subarray(0, 20_000)],
    ['empty', () => Buffer.alloc(0)],
    ['with one bit changed', (bytes: Buffer) => bytes.fill(bytes[40_000] ^ 1, 40_000, 40_001)],
  ])('a library %s is compiled again', async (name, change) => {
    const cache = cacheOf(name, change);
    const announced: string[] = [];
    expect(await loadNative({ cache, compilers, announce: sentence => announced.push(sentence) })).toMatchObject({
      works: true,
    });
    expect(announced).toHaveLength(1);
    expect(readFileSync(join(cache, library))).toEqual(readFileSync(join(good, library)));
  });

  test('a library of other sources, or of another compiler, is left alone', async () => {
    const stale = library.replace(/kernels-[0-9a-f]{4}/, 'kernels-0000');
    const cache = cacheOf('stale', bytes => bytes, stale);
    expect(await loadNative({ cache, compilers })).toMatchObject({ works: true });
    expect(readdirSync(cache).sort()).toEqual([stale, library].sort());
    const other = neverCompiles('cc other'); // its --version differs
    expect(await why({ cache, compilers: [other] })).toContain('asked to compile.');
  });

  /** loadNative in a process of its own: what it says, and how it ends. */
  function loadInProcess(cache: string, asUser?: number): Promise<string> {
    const script = `const { loadNative } = await import(${JSON.stringify(LOADER)});
      const loaded = await loadNative(${JSON.stringify({ cache, compilers })});
      if (loaded.works) loaded.library.setThreads(3);
      console.log(loaded.works ? 'works' : loaded.why);`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      ...(asUser === undefined ? {} : { uid: asUser, gid: asUser }),
      env: { ...process.env, TSX_DISABLE_CACHE: '1' },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', data => (said += data));
    return new Promise(resolve => {
      child.on('close', (code, signal) => resolve(`${said.trim()} ${signal ?? code}`));
    });
  }

  test('three processes compile into one cache at once, and all of them load', async () => {
    const cache = join(folder, 'shared');
    const outcomes = await Promise.all([1, 2, 3].map(() => loadInProcess(cache)));
    expect(outcomes).toEqual(['works 0', 'works 0', 'works 0']); // and the idle threads let Node end
    expect(readdirSync(cache)).toEqual([library]);
  });

  test('a cache that may only be read serves if it holds the library, and is refused if not', async () => {
    const nobody = process.getuid!() === 0 ? 65534 : undefined; // permissions do not bind root
    const full = join(folder, 'read-only');
    const empty = join(folder, 'read-only and empty');
    for (const cache of [full, empty]) mkdirSync(cache);
    copyFileSync(join(good, library), join(full, library));
    for (const cache of [full, empty]) chmodSync(cache, 0o555);
    const [withIt, without] = await Promise.all([full, empty].map(cache => loadInProcess(cache, nobody)));
    expect(withIt).toBe('works 0');
    expect(without).toMatch(/^The C kernels cannot be kept in \S+read-only and empty: EACCES: [^\n]*\. 0$/);
    expect(readdirSync(empty)).toEqual([]);
  });

  test('a processor without AVX takes the plain kernels', async () => {
    const blind = program('cc blind', `exec cc -D'__builtin_cpu_supports(name)=0' "$@" -O0`);
    expect(await loadNative({ cache: join(folder, 'blind'), compilers: [blind] })).toMatchObject({
      works: true,
      library: { instructions: 'plain' },
    });
    const asked = { cache: join(folder, 'blind'), compilers: [blind], instructions: 'avx2' };
    expect(await why(asked)).toBe('This processor cannot run the C kernels for avx2.');
  });
});

test('the usual places', () => {
  expect(usualCache({ XDG_CACHE_HOME: '/x' }, '/home/ada')).toBe(join('/x', 'language-family-moe'));
  expect(usualCache({}, '/home/ada').startsWith('/home/ada')).toBe(true);
  expect(usualHeaders('/home/ada').at(-1) ?? '').toMatch(/include/);
});
