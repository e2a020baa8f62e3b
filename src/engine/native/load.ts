// Compiles the C kernels beside this file on first use, with the machine's own compiler, and loads them.
// The library's name is the SHA-256 of everything that it is made from, so a stale one is never taken; it is written
// under a temporary name and then renamed, so two processes may do this at once.

import { spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The kernels. All matrices are row-major fp32; sizes are checked, and an output may share memory with nothing. */
export interface NativeKernels {
  /** c[m,n] = (accumulate ? c : 0) + op(a)[m,k] op(b)[k,n] (+ bias[n]); a transposed operand is stored [k,m] or [n,k]. */
  gemm(
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
    m: number,
    n: number,
    k: number,
    transposeA: boolean,
    transposeB: boolean,
    accumulate: boolean,
    bias: Float32Array | null,
  ): void;
  /** y[r] = x[r] w[e]ᵀ for the rows offsets[e] ≤ r < offsets[e+1]; w[e] is [f, d]. */
  groupedGemm(
    x_ND: Float32Array,
    w_EFD: Float32Array[],
    offsets_E1: Int32Array,
    y_NF: Float32Array,
    d: number,
    f: number,
  ): void;
  /** dx[r] = dy[r] w[e] for the rows of e. */
  groupedGemmInput(
    dy_NF: Float32Array,
    w_EFD: Float32Array[],
    offsets_E1: Int32Array,
    dx_ND: Float32Array,
    d: number,
    f: number,
  ): void;
  /** dw[e] = dy[rows of e]ᵀ x[rows of e]; zeros for an expert without rows. */
  groupedGemmWeight(
    dy_NF: Float32Array,
    x_ND: Float32Array,
    offsets_E1: Int32Array,
    dw_EFD: Float32Array[],
    d: number,
    f: number,
  ): void;
  /** Threads from now on, the caller's included; returns how many could be had. */
  setThreads(threads: number): number;
  /** Uses 'avx512', 'avx2' or 'plain' from now on; false, and no change, where the processor has no such thing. */
  setInstructions(name: string): boolean;
  /** The instruction set (the best there is, unless set) and the threads in use. */
  info(): { isa: string; threads: number };
}

/** Where to look and where to write. Nothing else of the outside world is read. */
export interface NativePlaces {
  /** The library is kept here; made if it is not there. */
  cache: string;
  /** Compilers to try, in order: names on the search path, or files. */
  compilers?: string[];
  /** Folders that may hold node_api.h, in order. */
  headers?: string[];
}

export type NativeLoad = { works: true; why: string; kernels: NativeKernels } | { works: false; why: string };

const FOLDER = dirname(fileURLToPath(import.meta.url));
const SOURCES = ['gemm.c', 'threads.c', 'addon.c'];
const INCLUDED = ['kernels.h', 'tile.h'];
const FLAGS = ['-std=gnu11', '-O3', '-ffp-contract=fast', '-fPIC', '-shared', '-pthread', '-fvisibility=hidden'];
const MAC_FLAGS = ['-undefined', 'dynamic_lookup']; // Node's own symbols are found when the library is loaded
const COMPILER_LIMIT_MS = 120_000;

/** A reason not to use the kernels, as a sentence for people. */
class Refusal extends Error {}

/** Loads the kernels, compiling them if the cache has none. Never throws: `why` is one sentence either way. */
export function loadNative(places: NativePlaces): NativeLoad {
  try {
    const library = compiledLibrary(places);
    const kernels = open(library);
    return { works: true, why: `C kernels for ${kernels.info().isa}, compiled into ${library}.`, kernels };
  } catch (error) {
    const why = error instanceof Refusal ? error.message : `The C kernels do not load: ${firstLine(error)}.`;
    return { works: false, why };
  }
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

function compiledLibrary({
  cache,
  compilers = ['cc', 'gcc', 'clang'],
  headers = usualHeaders(),
}: NativePlaces): string {
  if (process.platform === 'win32') throw new Refusal('The C kernels are not made for Windows yet.');
  const compiler = findCompiler(compilers);
  const include = headers.find(folder => existsSync(join(folder, 'node_api.h')));
  if (!include) {
    throw new Refusal(`Node's header node_api.h is in none of ${headers.join(', ')}; npm install node-api-headers.`);
  }
  const library = join(cache, `kernels-${keyOf(compiler.version)}.node`);
  if (!existsSync(library)) compile(compiler.name, include, library);
  return library;
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
  for (const name of [...SOURCES, ...INCLUDED]) hash.update(name).update(readFileSync(join(FOLDER, name)));
  hash.update(JSON.stringify([FLAGS, compilerVersion, process.versions.modules, process.platform, process.arch]));
  return hash.digest('hex').slice(0, 32);
}

function compile(compiler: string, include: string, library: string): void {
  const cache = dirname(library);
  try {
    mkdirSync(cache, { recursive: true });
    accessSync(cache, constants.W_OK);
  } catch (error) {
    throw new Refusal(`The C kernels cannot be kept in ${cache}: ${firstLine(error)}.`);
  }
  const temporary = `${library}.${randomUUID()}`;
  try {
    const flags = process.platform === 'darwin' ? [...FLAGS, ...MAC_FLAGS] : FLAGS;
    const sources = SOURCES.map(name => join(FOLDER, name));
    const { status, stderr, error } = spawnSync(compiler, [...flags, '-I', include, ...sources, '-o', temporary], {
      encoding: 'utf8',
      timeout: COMPILER_LIMIT_MS,
    });
    if (status !== 0 || !existsSync(temporary)) {
      const reason = error ? firstLine(error) : (stderr.split('\n').find(line => /error/i.test(line)) ?? stderr);
      throw new Refusal(`${compiler} does not compile the C kernels: ${firstLine(reason) || 'it gave no reason'}.`);
    }
    renameSync(temporary, library);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function open(library: string): NativeKernels {
  return createRequire(import.meta.url)(library) as NativeKernels;
}

const firstLine = (error: unknown): string =>
  String((error as Error)?.message ?? error)
    .split('\n')[0]
    .replace(/\.$/, '');
