// Parameter counts by hand: the published shapes (ApolloMoE), configs/50lang.yaml, and what a model really allocates.
import { beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { tf } from '../../src/engine/tf.ts';
import { countParameters } from '../../src/model/count.ts';
import { modelSpec, tensorSpecs } from '../../src/model/spec.ts';
import { createModel, disposeModel } from '../../src/model/weights.ts';
import { toySpec, toyWeights } from './toy.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

function published(name: string, overrides: [string, unknown][] = []) {
  const { config, map } = loadConfig(`configs/models/${name}.yaml`, { overrides });
  const { model, router } = config;
  return {
    family: countParameters(modelSpec(model, router, map, model.vocab_size!)),
    dense: countParameters(modelSpec(model, router, map, model.vocab_size!, true)),
  };
}

describe('Qwen2 and its upcycled family models', () => {
  test.each([
    // Totals of the checkpoints; active: k = 2 experts of 7; tensors: 12 per dense layer, 31 per mixture (12 − 3 + 1 + 21).
    ['qwen2-0.5b', 494_032_768, 650_938_496, 520_194_176, 2 + 22 * 12 + 2 * 31, 13_074_432],
    ['qwen2-1.5b', 1_543_714_304, 2_039_187_968, 1_626_311_168, 2 + 26 * 12 + 2 * 31, 41_287_680],
    ['qwen2-7b', 7_615_616_512, 10_059_897_344, 8_023_038_464, 377, 203_685_888],
  ])('%s', (name, denseTotal, total, active, tensors, expert) => {
    const { family, dense } = published(name);
    expect(family).toEqual({ total, active, expert, tensors });
    expect(dense).toMatchObject({ total: denseTotal, active: denseTotal });
    // By hand from the dense model: in two layers one FFN becomes seven, and a router of 7 rows joins.
    const hidden = { 'qwen2-0.5b': 896, 'qwen2-1.5b': 1536, 'qwen2-7b': 3584 }[name]!;
    expect(total - denseTotal).toBe(2 * (6 * expert + 7 * hidden));
    expect(active - denseTotal).toBe(2 * (expert + 7 * hidden));
  });

  test('all layers sparse, a shared expert: per layer one FFN and one gate vector more', () => {
    const all = published('qwen2-0.5b', [['model.moe_layers', 'all']]).family;
    const shared = published('qwen2-0.5b', [
      ['model.moe_layers', 'all'],
      ['model.shared_expert', true],
    ]).family;
    expect(all.total).toBe(494_032_768 + 24 * (6 * 13_074_432 + 7 * 896));
    expect(shared.total - all.total).toBe(24 * (13_074_432 + 896));
    expect(shared.active - all.active).toBe(24 * (13_074_432 + 896));
  });
});

test('configs/50lang.yaml by hand', () => {
  const { config, map } = loadConfig('configs/50lang.yaml');
  expect([map.languages.length, map.numExperts]).toEqual([50, 7]);
  const { model, router } = config;
  const [V, D, F, layers, E, k] = [4096, 128, 384, 6, 7, 2];
  const keyValue = 2 * (128 / 4); // 2 key/value heads of 32
  const attention = D * D + D + 2 * (keyValue * D + keyValue) + D * D; // q, k, v with biases, o without
  const expert = 3 * D * F;
  const dense = attention + 2 * D + expert;
  const mixture = attention + 2 * D + E * D + E * expert;
  const total = V * D + 4 * dense + 2 * mixture + D; // embeddings tied with the head, final norm
  expect(layers - 2).toBe(4);
  const counted = countParameters(modelSpec(model, router, map, V));
  expect(counted).toEqual({
    total,
    active: total - 2 * (E - k) * expert,
    expert,
    tensors: 2 + 4 * 12 + 2 * (12 - 3 + 1 + 3 * E),
  });
  expect(counted.total).toBe(3_478_400);
});

test.each([
  ['tied', {}],
  ['untied with shared experts', { tie_word_embeddings: false, shared_expert: true, moe_layers: [0, 2] as number[] }],
])('%s: what is listed is what is allocated, and no tensor more', (_, settings) => {
  const spec = toySpec({ model: settings });
  const before = tf.memory();
  const model = createModel(spec, toyWeights(spec));
  const after = tf.memory();
  const { total, tensors } = countParameters(spec);
  expect(after.numBytes - before.numBytes).toBe(4 * total);
  expect(after.numTensors - before.numTensors).toBe(tensors);
  expect([...model.weights].map(([name, { shape }]) => ({ name, shape }))).toEqual(
    tensorSpecs(spec).map(({ name, shape }) => ({ name, shape })),
  );
  disposeModel(model);
});
