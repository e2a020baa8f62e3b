// The committed WebAssembly files: made from the C sources that are there, whole, small, and with nothing to them but
// the kernels. wasm-build.slow.test.ts compiles them again.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { CALLS } from './kernel-cases.ts';
import { hashSources } from './wasm-build.ts';

const LIBRARY = join(import.meta.dirname, '../../src/engine/library');
const { sources } = JSON.parse(readFileSync(join(LIBRARY, 'wasm-build.json'), 'utf8')) as { sources: string };

it('they were made from these C sources; if not: node bin/build-wasm.mjs', () => {
  expect(sources).toBe(hashSources());
});

setFlagsFromString('--experimental-wasm-relaxed-simd'); // Node 20 has it behind this flag

interface Listed {
  name: string;
  kind: string;
}
const { Module } = WebAssembly as unknown as {
  Module: { imports(module: object): (Listed & { module: string })[]; exports(module: object): Listed[] };
};

describe.each(['kernels.wasm', 'kernels-relaxed.wasm'])('%s', file => {
  const path = join(LIBRARY, file);
  const module = new WebAssembly.Module(readFileSync(path));

  it('has the kernels, and what threads need', () => {
    const names = Module.exports(module).map(({ name }) => name);
    expect(names.sort()).toEqual(
      [...Object.keys(CALLS), '__heap_base', '__stack_pointer', 'serve', 'set_thread_count'].sort(),
    );
  });

  it('takes nothing from outside but memory', () => {
    const taken = Module.imports(module).map(({ module: from, name, kind }) => `${from}.${name} ${kind}`);
    expect(taken.sort()).toEqual(['env.memory memory', 'heap.allocate function', 'heap.free function']);
  });

  it('is small', () => {
    expect(statSync(path).size).toBeLessThan(200_000);
  });
});
