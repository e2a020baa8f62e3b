// Weights: where they start, how they travel, and what is refused.
import { beforeAll, expect, test } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import { UserError } from '../../src/errors.ts';
import { createModel, disposeModel, type HostTensor, hostTensors, initialWeights } from '../../src/model/weights.ts';
import { createRng } from '../../src/train/rng.ts';
import { toySpec, toyWeights } from './toy.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const spread = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

test('fresh weights: norms 1, biases 0, the router its own deviation, all else initializer_range', () => {
  const spec = toySpec({
    model: { hidden_size: 64, initializer_range: 0.05, shared_expert: true },
    router: { init_std: 0.2 },
  });
  for (const [name, { values }] of initialWeights(spec, createRng('fresh').gaussian)) {
    if (name.endsWith('norm.weight')) expect(new Set(values), name).toEqual(new Set([1]));
    else if (name.endsWith('.bias')) expect(new Set(values), name).toEqual(new Set([0]));
    else {
      const expected = name.endsWith('gate.weight') ? 0.2 : 0.05;
      // Five standard errors of the estimate, σ/√(2n).
      expect(Math.abs(spread(values) / expected - 1), name).toBeLessThan(5 / Math.sqrt(2 * values.length));
    }
  }
});

test('weights go up and come back with the same bits; the balancing bias travels only where it is used', async () => {
  for (const rate of [0, 0.01]) {
    const spec = toySpec({ router: { bias_rate: rate } });
    const weights = toyWeights(spec);
    const model = createModel(spec, weights);
    model.selectionBias.get(2)!.set([0.5, -0.25, 0, 0.125]);
    const back = await hostTensors(model);
    expect(new Map([...back].filter(([name]) => weights.has(name)))).toEqual(weights);
    expect(back.size - weights.size).toBe(rate > 0 ? 2 : 0);
    const again = createModel(spec, back);
    const expected = rate > 0 ? [0.5, -0.25, 0, 0.125] : [0, 0, 0, 0];
    expect([...again.selectionBias.get(2)!]).toEqual(expected);
    disposeModel(model);
    disposeModel(again);
  }
});

test('a missing tensor, a wrong shape and a wrong bias are refused by name, and nothing is left on the backend', () => {
  const spec = toySpec({ router: { bias_rate: 0.01 } });
  const refused = (change: (weights: Map<string, HostTensor>) => void, ...named: string[]) => {
    const weights = toyWeights(spec);
    change(weights);
    const create = () => createModel(spec, weights, 'some/model.safetensors');
    expect(create).toThrow(UserError);
    for (const name of ['some/model.safetensors', ...named]) expect(create).toThrow(name);
  };
  const router = 'model.layers.1.mlp.gate.weight';
  refused(weights => weights.delete(router), router, 'missing');
  refused(
    weights => weights.set(router, { shape: [3, 16], values: new Float32Array(48) }),
    router,
    '[3, 16]',
    '[4, 16]',
  );
  const bias = 'model.layers.1.mlp.gate.e_score_correction_bias';
  refused(weights => weights.set(bias, { shape: [3], values: new Float32Array(3) }), bias, '[3]', '[4]');
});
