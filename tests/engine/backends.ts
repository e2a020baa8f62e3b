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

/** TensorFlow, where somebody has built its package (docs/tensorflow.md). */
const tensorflowHere: 'tensorflow'[] = here('tensorflow').works ? ['tensorflow'] : [];

/** Those, and the plain JavaScript of tfjs: backends whose tensors can be read at once. */
export const backends: ('cpu' | 'wasm' | 'native' | 'tensorflow')[] = ['cpu', ...kernelBackends, ...tensorflowHere];

/** Backends whose products give a row the same bits whatever rows are beside it. TensorFlow's choose by the number of rows
 *  in which order they sum. */
export const rowBitBackends: typeof backends = backends.filter(name => name !== 'tensorflow');

/** All that can be read at once, and the GPU. */
export const allBackends: ('cpu' | 'wasm' | 'native' | 'tensorflow' | 'webgpu')[] = webgpuHere.works
  ? [...backends, 'webgpu']
  : backends;
