// A whole model on a GPU: loss, auxiliary losses and the gradient of every weight as WebAssembly has them, the same bits on repeat.
import { describe, expect, it } from 'vitest';
import { disposeModel } from '../../src/model/weights.ts';
import { use, webgpuHere } from '../engine/backends.ts';
import { gradientsOf, type HostGradients, relativeDifference, toyBatches, toyDocuments, toyModel } from './toy.ts';

type Settings = NonNullable<Parameters<typeof toyModel>[0]>;

const SETTINGS: Record<string, Settings> = {
  'a shared expert, balance by layer, z-loss, normalised gates': {
    model: { shared_expert: true, norm_topk_prob: true },
    router: { balance_coefficient: 0.01, z_coefficient: 0.001 },
  },
  'tied embeddings, balance over all layers, selection bias, raw gates': {
    model: { tie_word_embeddings: true, norm_topk_prob: false },
    router: { balance_coefficient: 0.01, balance_scope: 'pooled', bias_rate: 0.01 },
  },
  'checkpointed layers, all of them mixtures': {
    model: { moe_layers: 'last 3' },
    train: { gradient_checkpointing: true },
  },
};

async function on(backend: 'wasm' | 'webgpu', settings: Settings, mode: 'forced' | 'free'): Promise<HostGradients> {
  await use(backend);
  const model = toyModel(settings);
  const [batch] = toyBatches(toyDocuments([7, 12, 5, 9, 14]), 2, 16);
  const checkpointing = settings.train?.gradient_checkpointing;
  const result = await gradientsOf(model, batch, { mode, checkpointing });
  disposeModel(model);
  return result;
}

describe.runIf(webgpuHere.works).each(Object.entries(SETTINGS))('%s', (_, settings) => {
  it.each(['forced', 'free'] as const)('%s routing', async mode => {
    const want = await on('wasm', settings, mode);
    const got = await on('webgpu', settings, mode);
    expect(await on('webgpu', settings, mode), 'the same bits on repeat').toEqual(got);
    expect(got.learnedTokens).toBe(want.learnedTokens);
    expect(relativeDifference([got.loss], [want.loss])).toBeLessThan(1e-6);
    expect(relativeDifference([got.auxiliary], [want.auxiliary])).toBeLessThan(1e-6);
    expect([...got.gradients.keys()]).toEqual([...want.gradients.keys()]);
    for (const [name, gradient] of want.gradients)
      expect(relativeDifference(got.gradients.get(name)!, gradient), name).toBeLessThan(1e-5);
  });
});
