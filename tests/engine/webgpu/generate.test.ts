// Inference on a GPU, from weights in bf16 too, which are widened there: the tokens that WebAssembly finds, one read per token.
import { expect, it, vi } from 'vitest';

import { tf } from '../../../src/engine/tf.ts';
import { generate } from '../../../src/eval/generate.ts';
import { float32ToBfloat16 } from '../../../src/hub/half.ts';
import { createModel, disposeModel, type HalfMatrix, type HostTensor } from '../../../src/model/weights.ts';
import { collected, toySpec, toyWeights } from '../../model/toy.ts';
import { use, webgpuHere } from '../backends.ts';

const spec = toySpec({ model: { shared_expert: true } });

/** All matrices but the routers' in bf16. */
function half(weights: Map<string, HostTensor>): Map<string, HostTensor | HalfMatrix> {
  return new Map(
    [...weights].map(([name, { shape, values }]): [string, HostTensor | HalfMatrix] =>
      shape.length < 2 || name.endsWith('mlp.gate.weight')
        ? [name, { shape, values }]
        : [name, { shape, halves: float32ToBfloat16(values) }],
    ),
  );
}

async function tokensOn(backend: 'wasm' | 'webgpu', weights: Map<string, HostTensor | HalfMatrix>) {
  await use(backend);
  const model = createModel(spec, weights);
  const read = vi.spyOn(tf.Tensor.prototype, 'data');
  const ids = await collected(
    generate(model, Int32Array.of(3, 1, 4, 1, 5), {
      maxTokens: 10,
      temperature: 0,
      topP: 1,
      eosIds: [],
      mode: 'forced',
      languageExpert: 2,
      random: () => 0,
    }),
  );
  const reads = read.mock.calls.length;
  read.mockRestore();
  disposeModel(model);
  return { ids, reads };
}

it.runIf(webgpuHere.works).each(['fp32', 'bf16'])('greedy tokens from weights in %s', async type => {
  const fresh = toyWeights(spec);
  const weights = type === 'bf16' ? half(fresh) : fresh;
  const { ids, reads } = await tokensOn('webgpu', weights);
  expect(ids).toEqual((await tokensOn('wasm', weights)).ids);
  expect(reads).toBe(10);
  expect(new Set(ids).size).toBeGreaterThan(3);
});
