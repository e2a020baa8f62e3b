// Compiles the C kernels to WebAssembly: src/engine/library/kernels.wasm and kernels-relaxed.wasm, which are committed.
//   node bin/build-wasm.mjs           writes both files and wasm-build.json (compiler, SHA-256 of the sources)
//   node bin/build-wasm.mjs --check   compiles again and compares with what is committed; exit 1 when they differ
// Needs clang 19 and its linker (Debian: apt-get install clang-19 lld-19).
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const KERNELS = join(ROOT, 'src/engine/kernels');
const LIBRARY = join(ROOT, 'src/engine/library');
const COMPILER = 'clang-19';
const SOURCES = ['kernels.c', 'threads.c', 'scratch.c', 'wasm.c'];
const FLAGS = [
  '--target=wasm32',
  '-std=gnu11',
  '-O3',
  '-nostdlib',
  '-ffreestanding',
  '-Wall',
  '-Wextra',
  '-Wno-unused-function',
  '-Werror',
  '-msimd128',
  '-matomics',
  '-mbulk-memory',
  '-mmutable-globals',
  '-mnontrapping-fptoint',
  '-msign-ext',
  '-Wl,--no-entry,--import-memory,--shared-memory,--max-memory=4294967296,--stack-first,-z,stack-size=262144',
  '-Wl,--export=__stack_pointer,--export=__heap_base,--strip-all',
];
const BUILDS = { 'kernels.wasm': [], 'kernels-relaxed.wasm': ['-mrelaxed-simd'] };

/** SHA-256 over names and contents of everything in the folder of kernels. */
export function hashSources() {
  const hash = createHash('sha256');
  for (const name of readdirSync(KERNELS).sort())
    hash
      .update(name)
      .update('\0')
      .update(readFileSync(join(KERNELS, name)));
  return hash.update(JSON.stringify([SOURCES, FLAGS, BUILDS])).digest('hex');
}

/** First line of the compiler's version, or null when it is not installed. */
export function compilerVersion() {
  const { status, stdout } = spawnSync(COMPILER, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : null;
}

function compileInto(folder) {
  for (const [file, flags] of Object.entries(BUILDS)) {
    const { status, stderr } = spawnSync(COMPILER, [...FLAGS, ...flags, ...SOURCES, '-o', join(folder, file)], {
      cwd: KERNELS,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${COMPILER} does not compile ${file}:\n${stderr}`);
  }
}

/** Names of the committed files that a new build does not reproduce byte for byte. */
export function differences() {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  try {
    compileInto(folder);
    return Object.keys(BUILDS).filter(
      file => !readFileSync(join(folder, file)).equals(readFileSync(join(LIBRARY, file))),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function main() {
  const unknown = process.argv.slice(2).find(word => word !== '--check');
  if (unknown) throw new Error(`${unknown} is not known; the only option is --check.`);
  const compiler = compilerVersion();
  if (!compiler) throw new Error(`${COMPILER} is not installed; on Debian: apt-get install clang-19 lld-19.`);
  if (process.argv.includes('--check')) {
    const differ = differences();
    if (differ.length > 0)
      throw new Error(`${differ.join(' and ')} differ from a new build: run node bin/build-wasm.mjs.`);
    console.log(`The committed files are what ${compiler} makes of the sources.`);
    return;
  }
  compileInto(LIBRARY);
  const build = { compiler, sources: hashSources() };
  writeFileSync(join(LIBRARY, 'wasm-build.json'), `${JSON.stringify(build, null, 2)}\n`);
  for (const file of Object.keys(BUILDS)) console.log(`${file}: ${readFileSync(join(LIBRARY, file)).length} bytes`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
