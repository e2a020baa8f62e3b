// The C kernels in every build that runs here: three instruction sets of native where a compiler is, and both of wasm.
import type { Library } from '../../src/engine/library/library.ts';
import { loadNative } from '../../src/engine/library/native.ts';
import { openWasm } from '../../src/engine/library/wasm.ts';
import { cache } from './backends.ts';

export const libraries: [name: string, library: Library][] = [];
for (const instructions of ['avx512', 'avx2', 'plain']) {
  const load = await loadNative({ cache, instructions });
  if (load.works) libraries.push([`native ${instructions}`, load.library]);
}
for (const instructions of ['relaxed-simd', 'simd128'])
  libraries.push([`wasm ${instructions}`, openWasm(instructions)]);
