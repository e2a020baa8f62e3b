// Compiling the kernels to WebAssembly again gives the committed files, byte for byte, with the compiler that made them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { compilerVersion, differences } from './wasm-build.ts';

const record = join(import.meta.dirname, '../../src/engine/library/wasm-build.json');
const { compiler } = JSON.parse(readFileSync(record, 'utf8')) as { compiler: string };
const here = compilerVersion();

if (here === compiler) it('a rebuild gives the same bytes', () => expect(differences()).toEqual([]));
else it('here it cannot be compared: the compiler is another one, or none', () => expect(here).not.toBe(compiler));
