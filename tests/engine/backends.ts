// The backends that work on this machine. wasm and cpu always do; native where its C kernels compile, and
// native-load.test.ts states the sentence that says why not where they do not.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackendName, type BackendOptions, type Candidate, selectBackend } from '../../src/engine/backend.ts';

export const cache = join(tmpdir(), 'language-family-moe-tests');

export const use = (name: BackendName, options?: BackendOptions) =>
  selectBackend(name, { native: { cache }, ...options });

export const nativeHere: Candidate = (await use('auto', { tryAll: true })).candidates.find(
  ({ name }) => name === 'native',
)!;

/** Backends on the C kernels. */
export const kernelBackends: ('wasm' | 'native')[] = nativeHere.works ? ['wasm', 'native'] : ['wasm'];

/** Those, and the plain JavaScript of tfjs. */
export const backends: ('cpu' | 'wasm' | 'native')[] = ['cpu', ...kernelBackends];
