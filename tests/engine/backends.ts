// The backends with host kernels that work on this machine. native is among them where its C kernels compile;
// native-backend.test.ts states why not where they do not.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BackendName, type BackendOptions, type Candidate, selectBackend } from '../../src/engine/backend.ts';

export const cache = join(tmpdir(), 'language-family-moe-tests');

export const use = (name: BackendName, options?: BackendOptions) =>
  selectBackend(name, { native: { cache }, ...options });

export const nativeHere: Candidate = (await use('auto', { tryAll: true })).candidates.find(
  ({ name }) => name === 'native',
)!;

export const hostBackends: ('cpu' | 'wasm' | 'native')[] = nativeHere.works
  ? ['cpu', 'wasm', 'native']
  : ['cpu', 'wasm'];
