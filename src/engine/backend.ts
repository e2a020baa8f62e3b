// Chooses the tfjs backend that everything runs on, and says why.
// native: our C kernels, compiled on this machine on first use. wasm: the same kernels as committed WebAssembly.
// cpu: tfjs in plain JavaScript, the oracle. tensorflow: @tensorflow/tfjs-node-gpu or -node, optional packages that are
// imported only when asked for.

import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { UserError } from '../errors.ts';
import { registerKernelBackend } from './kernel-backend.ts';
import type { Library } from './library/library.ts';
import { loadNative, type NativePlaces } from './library/native.ts';
import { openWasm } from './library/wasm.ts';
import { registerTensorflowKernels } from './tensorflow/register.ts';
import { tf } from './tf.ts';
import { gpuOf } from './webgpu/gpu.ts';

export const BACKEND_NAMES = ['auto', 'native', 'wasm', 'cpu', 'webgpu', 'tensorflow'] as const;
export type BackendName = (typeof BACKEND_NAMES)[number];

/** One backend that could be taken, whether it works here, and one sentence for people. */
export interface Candidate {
  name: Exclude<BackendName, 'auto'>;
  works: boolean;
  why: string;
}

/** The backend in use, why it and none that is better, and what was known of each candidate. */
export interface Selection {
  name: string;
  why: string;
  candidates: Candidate[];
}

/** What the engine may not find out by itself. */
export interface BackendOptions {
  /** Where the C kernels are compiled, kept and looked for; native does not work without it. */
  native?: NativePlaces;
  /** Threads of native and wasm; every number gives the same bits. */
  threads?: number;
  /** Of products in a forward pass on webgpu: f16 multiplies and adds 16 terms in half precision, and the rest in fp32. */
  precision?: 'f32' | 'f16';
  /** Also tries what the choice does not depend on, to know whether it works. */
  tryAll?: boolean;
}

const TENSORFLOW_PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

/** Takes the named backend, or the best that works for `auto`. Must run before the first tensor is made.
 *  @throws UserError when the name is unknown or that backend does not work on this machine. */
export async function selectBackend(name: BackendName, options: BackendOptions = {}): Promise<Selection> {
  if (!BACKEND_NAMES.includes(name)) {
    throw new UserError(`Backend '${name}' is not known; choose one of ${BACKEND_NAMES.join(', ')}.`);
  }
  const candidates = await listCandidates(name, options);
  const chosen = candidates.find(candidate => candidate.works && (name === 'auto' || candidate.name === name));
  if (!chosen) {
    const refused = candidates.find(candidate => candidate.name === name);
    throw new UserError(
      `Backend '${name}' cannot be used: ${refused?.why ?? 'nothing works here'} Try --backend auto.`,
    );
  }
  await quietly(() => tf.setBackend(chosen.name));
  setPrecision(chosen.name, options.precision ?? 'f32');
  const better = name === 'auto' ? candidates.slice(0, candidates.indexOf(chosen)) : [];
  const why = [chosen.why, ...better.map(refused => `Not ${refused.name}: ${refused.why}`)].join(' ');
  return { name: chosen.name, why, candidates };
}

/** Candidates from best to worst. What takes long to try is tried when asked for, or when nothing better works. The
 *  tensorflow package is never taken by itself, as it takes the process over. */
async function listCandidates(asked: BackendName, options: BackendOptions): Promise<Candidate[]> {
  const wanted = (name: BackendName): boolean => asked === name || options.tryAll === true;
  const native = await nativeCandidate(wanted('native') || asked === 'auto', options);
  const wasm = wasmCandidate(wanted('wasm') || (asked === 'auto' && !native.works), options);
  const tensorflow = await tensorflowCandidate(asked === 'tensorflow');
  const webgpu = await webgpuCandidate(wanted('webgpu'));
  const cpu = cpuCandidate();
  return asked === 'tensorflow' ? [tensorflow, native, wasm, webgpu, cpu] : [native, wasm, webgpu, cpu, tensorflow];
}

/** The kernels that this process has opened: tfjs knows a backend by one name for good. */
const opened = new Map<'native' | 'wasm', Library>();

/** Registers the backend, once, and sets its threads. The sentence says what runs and on how many. */
function take(name: 'native' | 'wasm', library: Library, kind: string, threads = 1): Candidate {
  const kernels = opened.get(name) ?? library;
  opened.set(name, kernels);
  registerKernelBackend(name, kernels);
  const had = kernels.setThreads(threads);
  return {
    name,
    works: true,
    why: `${kind} for ${kernels.instructions} on ${had === 1 ? 'one thread' : `${had} threads`}.`,
  };
}

async function nativeCandidate(load: boolean, { native, threads }: BackendOptions): Promise<Candidate> {
  const refused = (why: string): Candidate => ({ name: 'native', works: false, why });
  if (!load) return refused('C kernels, not tried.');
  if (!native) return refused('The C kernels need a folder to be compiled into, and none was given.');
  const loaded = await loadNative(native);
  return loaded.works ? take('native', loaded.library, 'C kernels', threads) : refused(loaded.why);
}

function wasmCandidate(load: boolean, { threads }: BackendOptions): Candidate {
  if (!load) return { name: 'wasm', works: false, why: 'WebAssembly, not tried.' };
  try {
    return take('wasm', opened.get('wasm') ?? openWasm(), 'WebAssembly kernels', threads);
  } catch (error) {
    return { name: 'wasm', works: false, why: `WebAssembly does not start here: ${firstLine(error)}.` };
  }
}

function setPrecision(name: BackendName, precision: 'f32' | 'f16'): void {
  const gpu = name === 'webgpu' ? gpuOf(tf.backend()) : null;
  if (precision === 'f16' && !gpu?.device.features.has('shader-f16')) {
    const why = gpu ? 'this GPU has no shader-f16' : `backend ${name} has none, only webgpu may`;
    throw new UserError(`Products in f16 cannot be had, as ${why}: leave --precision away.`);
  }
  if (gpu) gpu.precision = precision;
}

/** Never taken by itself until it has been measured on a GPU. */
async function webgpuCandidate(load: boolean): Promise<Candidate> {
  if (!load) return { name: 'webgpu', works: false, why: 'WebGPU, taken by name only.' };
  try {
    const { registerWebgpu } = await import('./webgpu/backend.ts'); // with all kernels: only those who ask pay for them
    return { name: 'webgpu', works: true, why: `WGSL kernels on ${await quietly(registerWebgpu)}.` };
  } catch (error) {
    return { name: 'webgpu', works: false, why: firstLine(error).replace(/$/, '.') };
  }
}

async function tensorflowCandidate(load: boolean): Promise<Candidate> {
  const found = TENSORFLOW_PACKAGES.filter(name => folderOf(name) !== null);
  const installed = found.find(name => hasLibrary(folderOf(name)!));
  if (!installed) {
    const why = found[0]
      ? `${found[0]} is here without its library; fetch it with: cd ${folderOf(found[0])} && npm run install (or see docs/tensorflow.md).`
      : `Neither ${TENSORFLOW_PACKAGES.join(' nor ')} is installed.`;
    return { name: 'tensorflow', works: false, why };
  }
  if (!load) return { name: 'tensorflow', works: true, why: `${installed} is installed; choose it by name.` };
  try {
    await quietly(() => import(installed));
    registerTensorflowKernels();
    const { isUsingGpuDevice } = tf.findBackend('tensorflow') as unknown as { isUsingGpuDevice: boolean };
    return { name: 'tensorflow', works: true, why: `${installed} on ${isUsingGpuDevice ? 'a GPU' : 'the CPU'}.` };
  } catch (error) {
    return { name: 'tensorflow', works: false, why: `${installed} does not load: ${firstLine(error)}.` };
  }
}

function cpuCandidate(): Candidate {
  const backend = tf.findBackend('cpu') as { firstUse?: boolean } | null;
  if (backend) backend.firstUse = false; // else the first tensor prints an advertisement
  return { name: 'cpu', works: backend !== null, why: 'Plain JavaScript: slow, works everywhere, the reference.' };
}

/** Where a package is installed, as seen from here. */
function folderOf(name: string): string | null {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch {
    return null;
  }
}

/** The TensorFlow packages compile or download their library into lib/napi-v*; their install scripts are off by default. */
function hasLibrary(folder: string): boolean {
  const lib = join(folder, 'lib');
  return existsSync(lib) && readdirSync(lib).some(name => existsSync(join(lib, name, 'tfjs_binding.node')));
}

/** Runs `f` with the console shut, and takes back the process-wide error handlers that Emscripten installs. */
async function quietly<T>(f: () => Promise<T>): Promise<T> {
  const { log, warn, error, info } = console;
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const before = events.map(event => new Set(process.listeners(event as 'uncaughtException')));
  const silent = () => {};
  Object.assign(console, { log: silent, warn: silent, error: silent, info: silent });
  try {
    return await f();
  } finally {
    Object.assign(console, { log, warn, error, info });
    events.forEach((event, i) => {
      for (const listener of process.listeners(event as 'uncaughtException')) {
        if (!before[i].has(listener)) process.removeListener(event, listener);
      }
    });
  }
}

const firstLine = (error: unknown): string =>
  String((error as Error)?.message ?? error)
    .split('\n')[0]
    .replace(/\.$/, '');
