// Compiles guard/runner.c with the kernels, gives it cases, and reads what it says. Flags choose the sanitizers.

import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FLAGS, loadNative, OBJECTS } from '../../../src/engine/library/native.ts';
import { cache, nativeHere } from '../backends.ts';
import type { ArraySlot, KernelCase } from '../kernel-cases.ts';

const HERE = import.meta.dirname;
export const JITTER = ['-include', join(HERE, 'jitter.h')];
const KERNELS = join(import.meta.dirname, '../../../src/engine/kernels');
/** The instruction sets of the native build that this machine has. */
export async function variantsHere(): Promise<string[]> {
  const variants = process.arch === 'x64' ? ['plain', 'avx2', 'avx512'] : ['plain'];
  const loads = nativeHere.works ? variants.map(instructions => loadNative({ cache, instructions })) : [];
  const loaded = await Promise.all(loads);
  await loadNative({ cache }); // the best again
  return variants.filter((_, i) => loaded[i]?.works);
}

const LIMIT_MS = 240_000;

export interface Build {
  /** They follow those of the native build. */
  flags: string[];
  /** Blocks of scratch memory lie apart, so that a sanitizer sees where each ends. */
  apart?: boolean;
  /** The kernels of broken.c, in place of ours. */
  broken?: boolean;
}

/** The runner, compiled unless it is there. @throws Error with what the compiler said. */
export function compileRunner(build: Build): Promise<string> {
  return program('runner', build, async folder => {
    const sources = build.broken ? [{ source: join(HERE, 'broken.c'), flags: [] }] : kernelSources();
    const objects = sources.map(async ({ source, flags }, i) => {
      await compile([...flags, ...build.flags, '-c', source, '-o', join(folder, `${i}.o`)]);
      return join(folder, `${i}.o`);
    });
    const scratch = join(build.apart ? HERE : KERNELS, 'scratch.c');
    const rest = [join(KERNELS, 'threads.c'), scratch, join(HERE, 'runner.c')];
    await compile([...build.flags, ...rest, ...(await Promise.all(objects)), '-o', join(folder, 'program')]);
  });
}

/** threads.c and the kernels' threads, compiled unless it is there. */
export function compileThreads(flags: string[]): Promise<string> {
  const sources = [join(KERNELS, 'threads.c'), join(HERE, 'threads.c')];
  return program('threads', { flags }, folder => compile([...flags, ...sources, '-o', join(folder, 'program')]));
}

/** The compiled program of this name for the sources as they are now; `make` puts it into a folder. */
async function program(name: string, build: Build, make: (folder: string) => Promise<unknown>): Promise<string> {
  const made = join(cache, `${name}-${hashOf(build, [KERNELS, HERE])}`);
  if (existsSync(made)) return made;
  const folder = join(cache, randomUUID());
  mkdirSync(folder, { recursive: true });
  try {
    await make(folder);
    renameSync(join(folder, 'program'), made);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return made;
}

const kernelSources = () =>
  OBJECTS.filter(({ source }) => source === 'kernels.c').map(({ flags }) => ({
    source: join(KERNELS, 'kernels.c'),
    flags,
  }));

const compile = (options: string[]) => promisify(execFile)('cc', [...FLAGS, '-I', KERNELS, ...options]);

function hashOf(build: Build, folders: string[]): string {
  const { stdout } = spawnSync('cc', ['--version'], { encoding: 'utf8' });
  const hash = createHash('sha256').update(JSON.stringify([build, FLAGS, OBJECTS, process.arch, stdout]));
  for (const folder of folders) {
    for (const file of readdirSync(folder).sort()) hash.update(readFileSync(join(folder, file)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** What the runner and the sanitizers have to say about the cases, a line each; none where all is well. */
export function complaints(
  runner: string,
  cases: KernelCase[],
  variant: string,
  place: 'end' | 'start' | 'heap',
): string[] {
  const file = join(tmpdir(), `cases-${randomUUID()}`);
  try {
    writeFileSync(file, Buffer.concat(cases.map(bytesOf)));
    const { stdout, stderr, status, signal } = spawnSync(runner, [file, variant, place], {
      encoding: 'utf8',
      timeout: LIMIT_MS,
    });
    const lines = `${stdout}${stderr}`.split('\n').filter(line => line !== '');
    return status === 0 ? lines : [...lines, `The runner ended with ${signal ?? status}.`];
  } finally {
    rmSync(file, { force: true });
  }
}

/** A call of a kernel of broken.c. */
export function brokenCase(kernel: string): KernelCase {
  const [values, output] = [new Float32Array(5).fill(2), new Float32Array(5)];
  return { kernel, shape: 'n 5', slots: [{ role: 'input', values }, { role: 'output', values: output }, 5] };
}

const ROLES = ['input', 'output', 'both'];

/** The form that runner.c reads. */
function bytesOf({ kernel, shape, slots }: KernelCase): Buffer {
  const body = Buffer.concat([words(slots.flat().length, slots.length), ...slots.map(slotBytes)]);
  return Buffer.concat([text(kernel, 32), text(shape, 128), words(body.length), body]);
}

function slotBytes(slot: KernelCase['slots'][number]): Buffer {
  if (typeof slot === 'number') return Buffer.concat([words(0), Buffer.from(Float64Array.of(slot).buffer)]);
  if (!Array.isArray(slot)) return Buffer.concat([words(1), arrayBytes(slot)]);
  return Buffer.concat([words(2, slot.length), ...slot.map(arrayBytes)]);
}

function arrayBytes({ role, values }: ArraySlot): Buffer {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return Buffer.concat([words(ROLES.indexOf(role), bytes.length), ...(role === 'output' ? [] : [bytes])]);
}

const words = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);

function text(value: string, bytes: number): Buffer {
  const field = Buffer.alloc(bytes);
  field.write(value.slice(0, bytes - 1));
  return field;
}
