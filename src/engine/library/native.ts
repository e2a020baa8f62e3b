// The native build of the C kernels: compiled on first use with the machine's own compiler, kept in a cache folder and
// loaded through Node-API. On x86-64 the kernels are compiled three times, and the processor decides at run time.
// The library's name holds the SHA-256 of everything that it is made from, so a stale one is never taken, and its own,
// so half a one is not either; it is written under a temporary name and then renamed, so two processes may do this at once.

import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makeFolder } from '../../make-folder.ts';
import type { KernelArgument } from '../memory.ts';
import { type Library, MOST_THREADS } from './library.ts';
import { createPool } from './pool.ts';

/** What the compiled library offers. */
interface Addon {
  kernels: Record<string, (...values: readonly KernelArgument[]) => void>;
  threads(count: number): number;
  instructions(name: string | null): string | null;
  misalignment(values: Float32Array): number;
}

/** Where to look and where to write. Nothing else of the outside world is read. */
export interface NativePlaces {
  /** The library is kept here; made if it is not there. */
  cache: string;
  /** Compilers to try, in order: names on the search path, or files. */
  compilers?: string[];
  /** Folders that may hold node_api.h, in order. */
  headers?: string[];
  /** avx512, avx2 or plain, to run on less than the best of this machine. */
  instructions?: string;
  /** Is told, in a sentence, before something takes seconds. */
  announce?: (sentence: string) => void;
}

export type NativeLoad = { works: true; why: string; library: Library } | { works: false; why: string };

const KERNELS = fileURLToPath(new URL('../kernels/', import.meta.url));
/** Flags of every file. Without -fno-math-errno a square root would need the mathematical library. */
export const FLAGS = [
  '-std=gnu11',
  '-O3',
  '-ffp-contract=fast',
  '-fno-math-errno',
  '-fPIC',
  '-pthread',
  '-fvisibility=hidden',
];
const LINK_FLAGS = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : []; // Node's symbols come later
const COMPILER_LIMIT_MS = 120_000;

/** What is compiled, each with the flags of its instruction set. */
export const OBJECTS: { source: string; flags: string[] }[] = [
  { source: 'addon.c', flags: [] },
  { source: 'threads.c', flags: [] },
  { source: 'scratch.c', flags: [] },
  { source: 'kernels.c', flags: [] },
  ...(process.arch === 'x64'
    ? [
        { source: 'kernels.c', flags: ['-mavx2', '-mfma'] },
        {
          source: 'kernels.c',
          flags: ['-mavx512f', '-mavx512vl', '-mavx512bw', '-mavx512dq', '-mfma', '-mprefer-vector-width=512'],
        },
      ]
    : []),
];

/** A reason not to use the kernels, as a sentence for people. */
class Refusal extends Error {}

/** Loads the kernels, compiling them if the cache has none. Never throws: `why` is one sentence either way. */
export async function loadNative(places: NativePlaces): Promise<NativeLoad> {
  try {
    const { addon, file } = await compiledAddon(places);
    const instructions = addon.instructions(places.instructions ?? null);
    if (!instructions) throw new Refusal(`This processor cannot run the C kernels for ${places.instructions}.`);
    return {
      works: true,
      why: `C kernels for ${instructions}, compiled into ${file}.`,
      library: libraryOf(addon, instructions),
    };
  } catch (error) {
    const why = error instanceof Refusal ? error.message : `The C kernels do not load: ${firstLine(error)}.`;
    return { works: false, why };
  }
}

/** The kernels of one addon, with memory for them. */
function libraryOf(addon: Addon, instructions: string): Library {
  return {
    ...createPool(addon.misalignment),
    reaches: () => true,
    call(kernel, values) {
      const run = addon.kernels[kernel];
      if (!run) throw new Error(`there is no kernel ${kernel}`);
      run(...values);
    },
    setThreads: threads => addon.threads(Math.min(Math.max(1, Math.floor(threads)), MOST_THREADS)),
    instructions,
  };
}

/** The usual folder for caches, given the person's environment and home. */
export function usualCache(environment: Record<string, string | undefined>, home: string): string {
  const base =
    environment.XDG_CACHE_HOME ||
    (process.platform === 'darwin' ? join(home, 'Library', 'Caches') : join(home, '.cache'));
  return join(base, 'language-family-moe');
}

/** The folders where Node's headers are usually found: the npm package, beside Node, the system's, node-gyp's. */
export function usualHeaders(home?: string): string[] {
  const folders = [
    join(dirname(process.execPath), '..', 'include', 'node'),
    '/usr/include/node',
    '/usr/local/include/node',
  ];
  if (home) folders.push(join(home, '.cache', 'node-gyp', process.versions.node, 'include', 'node'));
  try {
    const entry = createRequire(import.meta.url).resolve('node-api-headers');
    folders.unshift(join(dirname(entry), 'include'));
  } catch {
    // the package is optional: Node's own headers do as well
  }
  return folders;
}

/** The library of the cache, compiled when there is none that is whole and loads. */
async function compiledAddon({
  cache,
  compilers = ['cc', 'gcc', 'clang'],
  headers = usualHeaders(),
  announce,
}: NativePlaces): Promise<{ addon: Addon; file: string }> {
  if (process.platform === 'win32') throw new Refusal('The C kernels are not made for Windows yet.');
  const compiler = findCompiler(compilers);
  const key = keyOf(compiler.version);
  for (const file of wholeLibraries(cache, key)) {
    try {
      return { addon: load(file), file };
    } catch {
      // compiled again below
    }
  }
  const include = headers.find(folder => existsSync(join(folder, 'node_api.h')));
  if (!include) throw new Refusal(`Node's header node_api.h is in none of ${headers.join(', ')}; run npm ci again.`);
  prepare(cache);
  announce?.(`Compiling the C kernels with ${compiler.name}, once, into ${cache}.`);
  const file = await compile(compiler.name, include, cache, key);
  try {
    return { addon: load(file), file };
  } catch (error) {
    rmSync(file);
    throw error;
  }
}

const load = (file: string): Addon => createRequire(import.meta.url)(file) as Addon;

/** A library is named for what it was made from and for what it holds: loading half a file would end the process. */
const libraryName = (key: string, file: string): string => `kernels-${key}-${sha256(readFileSync(file))}.node`;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

function wholeLibraries(cache: string, key: string): string[] {
  try {
    const names = readdirSync(cache).filter(name => name.startsWith(`kernels-${key}-`));
    return names.filter(name => libraryName(key, join(cache, name)) === name).map(name => join(cache, name));
  } catch {
    return []; // no such folder, or not ours to read
  }
}

function findCompiler(names: string[]): { name: string; version: string } {
  for (const name of names) {
    const { status, stdout } = spawnSync(name, ['--version'], { encoding: 'utf8', timeout: COMPILER_LIMIT_MS });
    if (status === 0) return { name, version: `${name} ${stdout}` };
  }
  throw new Refusal(`No C compiler was found (tried ${names.join(', ')}); install gcc or clang.`);
}

function keyOf(compilerVersion: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(KERNELS).sort()) hash.update(name).update(readFileSync(join(KERNELS, name)));
  const { versions, platform, arch } = process;
  hash.update(JSON.stringify([FLAGS, OBJECTS, LINK_FLAGS, compilerVersion, versions.modules, platform, arch]));
  return hash.digest('hex').slice(0, 32);
}

/** Returns the new library's file. */
async function compile(compiler: string, include: string, cache: string, key: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  const temporary = join(cache, `kernels-${randomUUID()}.part`);
  try {
    const objects = OBJECTS.map((_, i) => join(folder, `${i}.o`));
    const running = OBJECTS.map(({ source, flags }, i) =>
      run(compiler, [...FLAGS, ...flags, '-I', include, '-c', join(KERNELS, source), '-o', objects[i]]),
    );
    await Promise.allSettled(running); // none may still write when the folder goes
    await Promise.all(running);
    await run(compiler, ['-shared', '-pthread', ...LINK_FLAGS, ...objects, '-o', temporary]);
    if (!existsSync(temporary)) throw new Refusal(`${compiler} does not compile the C kernels: it wrote nothing.`);
    const library = join(cache, libraryName(key, temporary));
    renameSync(temporary, library);
    return library;
  } finally {
    rmSync(temporary, { force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

function prepare(cache: string): void {
  try {
    makeFolder(cache);
    accessSync(cache, constants.W_OK);
  } catch (error) {
    throw new Refusal(`The C kernels cannot be kept in ${cache}: ${firstLine(error)}.`);
  }
}

async function run(compiler: string, options: string[]): Promise<void> {
  try {
    await promisify(execFile)(compiler, options, { timeout: COMPILER_LIMIT_MS });
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    const reason = stderr.split('\n').find(line => /error/i.test(line)) ?? stderr;
    throw new Refusal(`${compiler} does not compile the C kernels: ${firstLine(reason) || 'it gave no reason'}.`);
  }
}

const firstLine = (error: unknown): string =>
  String((error as Error)?.message ?? error)
    .split('\n')[0]
    .replace(/\.$/, '');
