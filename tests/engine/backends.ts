// The backends that work on this machine. wasm and cpu always do; native where its C kernels compile, and
// native-load.test.ts states the sentence that says why not where they do not.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackendName, type BackendOptions, type Candidate, selectBackend } from '../../src/engine/backend.ts';

export const cache = join(tmpdir(), 'language-family-moe-tests');

export const use = (name: BackendName, options?: BackendOptions) =>
  selectBackend(name, { native: { cache }, ...options });

const { candidates } = await use('auto', { tryAll: true });
const here = (name: BackendName): Candidate => candidates.find(candidate => candidate.name === name)!;

export const nativeHere = here('native');

/** WGSL kernels, on a GPU or on SwiftShader where the environment names it, as .ci/run does. */
export const webgpuHere = here('webgpu');

/** Backends on the C kernels. */
export const kernelBackends: ('wasm' | 'native')[] = nativeHere.works ? ['wasm', 'native'] : ['wasm'];

/** Those, and the plain JavaScript of tfjs: backends whose tensors can be read at once. */
export const backends: ('cpu' | 'wasm' | 'native')[] = ['cpu', ...kernelBackends];

/** Those, and the GPU. */
export const allBackends: ('cpu' | 'wasm' | 'native' | 'webgpu')[] = webgpuHere.works
  ? [...backends, 'webgpu']
  : backends;
