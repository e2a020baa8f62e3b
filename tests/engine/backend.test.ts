// Choice of the backend: what auto takes, what is refused and how, and that nothing is printed.
import { describe, expect, it, vi } from 'vitest';
import type { BackendName } from '../../src/engine/backend.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { tf } from '../../src/engine/tf.ts';
import { UserError } from '../../src/errors.ts';

describe('selectBackend', () => {
  it('takes wasm for auto and says one sentence about each candidate', async () => {
    const listeners = () => ['unhandledRejection', 'uncaughtException'].map(event => process.listenerCount(event));
    const before = listeners();
    const { name, why, candidates } = await selectBackend('auto'); // the first start: it must leave no listeners behind
    expect(listeners()).toEqual(before);
    expect(name).toBe('wasm');
    expect(tf.getBackend()).toBe('wasm');
    expect(why).toMatch(
      /^WebAssembly kernels for (relaxed-simd|simd128) on one thread\. Not native: The C kernels need a folder [^\n.]+\.$/,
    );
    expect(candidates.map(candidate => candidate.name)).toEqual(['native', 'wasm', 'webgpu', 'cpu', 'tensorflow']);
    for (const candidate of candidates) expect(candidate.why).toMatch(/^[^\n]+\.$/);
  });

  it('takes cpu when asked, without the greeting of tfjs', async () => {
    const log = vi.spyOn(console, 'log');
    expect((await selectBackend('cpu')).name).toBe('cpu');
    tf.tensor1d([1]).dispose();
    expect(log).not.toHaveBeenCalled();
  });

  it.each([['native', /need a folder to be compiled into, and none was given\. Try --backend auto\.$/]] as const)(
    'refuses %s in one sentence and keeps the backend in use',
    async (name, sentence) => {
      await selectBackend('cpu');
      await expect(selectBackend(name)).rejects.toThrow(UserError);
      await expect(selectBackend(name)).rejects.toThrow(sentence);
      expect(tf.getBackend()).toBe('cpu');
    },
  );

  it('refuses a name it does not know', async () => {
    await expect(selectBackend('cuda' as BackendName)).rejects.toThrow(
      "Backend 'cuda' is not known; choose one of auto",
    );
  });
});
