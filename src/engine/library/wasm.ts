// The wasm build of the C kernels: one module on a shared memory of its own, and workers that run its parallel loops.
// Tensors live in that memory, so a kernel is called with addresses and nothing is copied. Two files are committed:
// relaxed SIMD (fused multiply-add where the machine has it) and plain SIMD.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { createHeap, type Heap } from './heap.ts';
import { type Library, MOST_THREADS } from './library.ts';

const FOLDER = dirname(fileURLToPath(import.meta.url));
const BUILDS = [
  { instructions: 'relaxed-simd', file: 'kernels-relaxed.wasm' },
  { instructions: 'simd128', file: 'kernels.wasm' },
];
const FIRST_PAGES = 256;
const MOST_PAGES = 65536; // 4 GiB
const STACK_BYTES = 262144;
const MOST_ARGUMENTS = 32;

interface Exports {
  memory: WebAssembly.Memory;
  __heap_base: WebAssembly.Global;
  set_thread_count(threads: number): number;
  [kernel: string]: unknown;
}

/** What a worker runs: the same module on the same memory, with a stack of its own, for ever. */
const WORKER = `
const { module, memory, stack, thread } = require('node:worker_threads').workerData;
const heap = { allocate: () => 0, free() {} };
const { exports } = new WebAssembly.Instance(module, { env: { memory }, heap });
exports.__stack_pointer.value = stack;
exports.serve(thread);
`;

/** Starts the kernels. `instructions` asks for one of the two builds. @throws Error when WebAssembly cannot do it. */
export function openWasm(instructions?: string): Library {
  const { module, build } = compile(instructions);
  const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: MOST_PAGES, shared: true });
  let heap!: Heap;
  const imports = {
    env: { memory },
    heap: {
      allocate: (floats: number) => addressOrNull(() => heap.allocate(floats * 4)),
      free: (address: number) => heap.free(address),
    },
  };
  const exports = new WebAssembly.Instance(module, imports).exports as unknown as Exports;
  heap = createHeap(memory, exports.__heap_base.value);
  const own = memoryOf(memory, heap);
  return {
    instructions: build,
    ...own,
    call: createCall(exports, memory, heap, own.owns),
    setThreads: createThreads(module, memory, heap, exports),
  };
}

function compile(instructions?: string): { module: WebAssembly.Module; build: string } {
  for (const { instructions: build, file } of BUILDS) {
    if (instructions && instructions !== build) continue;
    const bytes = readFileSync(join(FOLDER, file));
    if (runsHere(bytes)) return { module: new WebAssembly.Module(bytes), build };
  }
  throw new Error(`this Node runs no WebAssembly with ${instructions ?? 'SIMD and threads'}`);
}

/** Node 20 has relaxed SIMD behind a flag that later ones, which always have it, may not know. */
function runsHere(bytes: Uint8Array): boolean {
  if (WebAssembly.validate(bytes)) return true;
  setFlagsFromString('--experimental-wasm-relaxed-simd');
  return WebAssembly.validate(bytes);
}

function memoryOf(memory: WebAssembly.Memory, heap: Heap): Pick<Library, 'allocate' | 'free' | 'reaches' | 'owns'> {
  const buffers = new WeakSet<ArrayBufferLike>(); // one more each time the memory grows
  const owns: Library['owns'] = ({ buffer }) => buffers.has(buffer);
  return {
    allocate(floats) {
      const address = heap.allocate(floats * 4); // may grow the memory, so before its buffer is read
      buffers.add(memory.buffer);
      return new Float32Array(memory.buffer, address, floats);
    },
    free: values => heap.free(values.byteOffset),
    reaches: owns,
    owns,
  };
}

/** Calls by name: arguments are written into a block of the heap, eight bytes each, and its address is passed. */
function createCall(exports: Exports, memory: WebAssembly.Memory, heap: Heap, owns: Library['owns']): Library['call'] {
  const block = heap.allocate(MOST_ARGUMENTS * 8);
  const numbers = new Float64Array(memory.buffer, block, MOST_ARGUMENTS);
  const addresses = new Uint32Array(memory.buffer, block, MOST_ARGUMENTS * 2);
  const lent: number[] = []; // copies for the time of one call

  function lend(values: Int32Array | Uint16Array | Uint32Array): number {
    const address = heap.allocate(values.byteLength);
    lent.push(address);
    const copy = new Uint8Array(memory.buffer, address, values.byteLength);
    copy.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return address;
  }

  function addressOf(values: Float32Array | Int32Array | Uint16Array): number {
    if (owns(values)) return values.byteOffset;
    if (values instanceof Float32Array) throw new Error('a kernel was given floats outside of its memory');
    return lend(values);
  }

  return (kernel, values) => {
    const run = exports[kernel];
    if (typeof run !== 'function') throw new Error(`there is no kernel ${kernel}`);
    if (values.length > MOST_ARGUMENTS) throw new Error(`a kernel takes at most ${MOST_ARGUMENTS} arguments`);
    try {
      values.forEach((value, i) => {
        if (typeof value === 'number' || typeof value === 'boolean') numbers[i] = Number(value);
        else addresses[2 * i] = ArrayBuffer.isView(value) ? addressOf(value) : lend(Uint32Array.from(value, addressOf));
      });
      if (!run(block)) throw new Error(`no memory is left for the kernel ${kernel}`);
    } finally {
      for (const address of lent.splice(0)) heap.free(address);
    }
  };
}

/** Workers are started once and kept: asking for fewer threads only lets some sleep. They never keep Node alive. */
function createThreads(module: WebAssembly.Module, memory: WebAssembly.Memory, heap: Heap, exports: Exports) {
  let started = 1;
  return (threads: number): number => {
    const wanted = Math.min(Math.max(1, Math.floor(threads)), MOST_THREADS);
    for (; started < wanted; started++) {
      const stack = heap.allocate(STACK_BYTES) + STACK_BYTES;
      new Worker(WORKER, { eval: true, execArgv: [], workerData: { module, memory, stack, thread: started } }).unref();
    }
    return exports.set_thread_count(wanted);
  };
}

function addressOrNull(allocate: () => number): number {
  try {
    return allocate();
  } catch {
    return 0;
  }
}
