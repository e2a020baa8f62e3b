// The moment a dense model grows experts: nothing is lost, and a copy that went wrong is noticed.
import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { FamilyMap } from '../../src/config/families.ts';
import { syntheticCorpus } from '../../src/data/synthetic.ts';
import { tokenizeDocuments } from '../../src/data/tokenize.ts';
import { bytesTokenizer } from '../../src/data/tokenizer/bytes.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import { UserError } from '../../src/errors.ts';
import { documentLosses } from '../../src/eval/evaluate.ts';
import { modelSpec } from '../../src/model/spec.ts';
import { type TokenInput, tokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import type * as Upcycle from '../../src/model/upcycle.ts';
import { createModel, disposeModel, hostTensors, type Model } from '../../src/model/weights.ts';
import { type Growth, growExperts } from '../../src/train/grow.ts';
import { createRng } from '../../src/train/rng.ts';
import {
  difference,
  logitsOf,
  toyBatches,
  toyConfig,
  toyDocuments,
  toyExperts,
  toyMap,
  toySpec,
  toyWeights,
} from '../model/toy.ts';

/** Changes what upcycling answers, in the tests that ask for it. */
const damage = vi.hoisted(() => ({ name: '' }));
vi.mock('../../src/model/upcycle.ts', async original => {
  const { upcycleTensors } = await original<typeof Upcycle>();
  return {
    upcycleTensors: (...given: Parameters<typeof upcycleTensors>) => {
      const tensors = upcycleTensors(...given);
      if (damage.name) tensors.get(damage.name)!.values[7] += 0.05;
      return tensors;
    },
  };
});

beforeAll(() => selectBackend('wasm').then(() => undefined));

type Settings = Parameters<typeof toyConfig>[0];
const sample = toyDocuments([30, 20, 41, 18, 25, 33]);
const rng = () => createRng('grow');

/** A dense toy model grown by these settings. */
async function grown(settings: Settings): Promise<{ dense: Model; growth: Growth }> {
  const spec = toySpec(settings, true);
  const dense = createModel(spec, toyWeights(spec));
  return { dense, growth: await growExperts(dense, toyConfig(settings), toyMap, sample, rng()) };
}
const tokens: TokenInput = tokenInput(toyBatches(sample, 2, 48)[0], toyExperts);
const logitsAt = (model: Model, mode: 'free' | 'forced') =>
  logitsOf(model, tokens, { mode })
    .filter((_, t) => tokens.counted_T[t] === 1)
    .flat();

describe('exact copies', () => {
  test.each(['normal', 'orthogonal', 'zero', 'centred', 'hidden-mean'] as const)(
    'normalised gates, router start %s: the logits are the dense model’s, forced or free',
    async init => {
      const { dense, growth } = await grown({ router: { init } });
      const before = logitsAt(dense, 'free');
      expect(difference(logitsAt(growth.model, 'free'), before)).toBeLessThan(1e-5);
      expect(difference(logitsAt(growth.model, 'forced'), before)).toBeLessThan(1e-5);
      expect(growth.error).toBeLessThan(1e-5);
      expect(growth.meanScale).toBeCloseTo(1, 6);
      expect(growth.sentence).toContain('step 0 equals the dense model');
      disposeModel(dense);
      disposeModel(growth.model);
    },
  );

  test('raw gates: each layer answers its chosen mass times the dense FFN, the whole model is another', async () => {
    const { dense, growth } = await grown({ model: { norm_topk_prob: false }, router: { init: 'zero' } });
    expect(growth.error).toBeLessThan(1e-5);
    expect(growth.meanScale).toBeCloseTo(0.5, 6); // a router of zeros: two of four equal probabilities
    expect(growth.sentence).toContain('0.500 × the dense FFN');
    expect(difference(logitsAt(growth.model, 'free'), logitsAt(dense, 'free'))).toBeGreaterThan(0.1);
    disposeModel(dense);
    disposeModel(growth.model);
  });

  test('raw gates with a shared expert: the mass and the sigmoid of the shared gate add up', async () => {
    const { dense, growth } = await grown({
      model: { norm_topk_prob: false, shared_expert: true },
      router: { init_std: 0 },
    });
    expect(growth.error).toBeLessThan(1e-5);
    expect(growth.meanScale).toBeCloseTo(0.5 + 0.5, 6); // sigmoid(0) = 1/2
    disposeModel(dense);
    disposeModel(growth.model);
  });

  test('every tensor but the new ones is the dense model’s, bit for bit, and the dense model is left alone', async () => {
    const { dense, growth } = await grown({});
    const before = toyWeights(dense.spec);
    expect(await hostTensors(dense)).toEqual(before);
    for (const [name, tensor] of await hostTensors(growth.model)) {
      if (name.endsWith('mlp.gate.weight')) continue;
      expect(tensor, name).toEqual(before.get(name.replace(/experts\.\d+\./, '')));
    }
    disposeModel(dense);
    disposeModel(growth.model);
  });
});

test('a router start with favourites: the mean input of each layer gets logits as far apart as asked', async () => {
  const { dense, growth } = await grown({ router: { init_std: 0, init_bias: 2 } });
  const logits: number[] = [];
  tf.tidy(() => {
    forward(dense, tokens, {
      mode: 'free',
      onFfnInput: (layer, x_TD) => {
        const router_ED = growth.model.weights.get(`model.layers.${layer}.mlp.gate.weight`) as Tensor2D | undefined;
        if (router_ED) logits.push(...(x_TD.matMul(router_ED, false, true).mean(0).dataSync() as Float32Array));
      },
    });
  });
  // Eight draws of N(0, 2), over a sample that is not quite the one whose mean they were drawn for.
  const spread = Math.sqrt(logits.reduce((sum, z) => sum + z * z, 0) / logits.length);
  expect(logits).toHaveLength(8);
  expect(spread).toBeGreaterThan(0.7);
  expect(spread).toBeLessThan(4);
  disposeModel(dense);
  disposeModel(growth.model);
});

test('favourites may be asked for layer by layer', async () => {
  const { dense, growth } = await grown({ router: { init_std: 0, init_bias: [0, 2, 0] } });
  const rows = (layer: number) => [...growth.model.weights.get(`model.layers.${layer}.mlp.gate.weight`)!.dataSync()];
  expect(rows(1).some(value => value !== 0)).toBe(true);
  expect(rows(2).every(value => value === 0)).toBe(true);
  disposeModel(dense);
  disposeModel(growth.model);
});

test.each([{ init: 'hidden-mean' }, { init: 'centred' }, { init_bias: 1 }] as const)(
  'a router start that needs held-out text is refused in words without: %o',
  async router => {
    const settings: Settings = { router };
    const spec = toySpec(settings, true);
    const dense = createModel(spec, toyWeights(spec));
    await expect(growExperts(dense, toyConfig(settings), toyMap, [], rng())).rejects.toThrow(UserError);
    disposeModel(dense);
  },
);

test('noise makes the experts differ from the dense network and from each other, and is not an error', async () => {
  const { dense, growth } = await grown({ upcycle: { noise: 0.1 } });
  expect(growth.error).toBeGreaterThan(1e-3);
  expect(growth.sentence).toContain('noise 0.1');
  const up = (e: number) => [...growth.model.weights.get(`model.layers.2.mlp.experts.${e}.up_proj.weight`)!.dataSync()];
  expect(difference(up(0), up(1))).toBeGreaterThan(0.01);
  expect(difference(logitsAt(growth.model, 'free'), logitsAt(dense, 'free'))).toBeGreaterThan(0.01);
  disposeModel(dense);
  disposeModel(growth.model);
});

test.each([
  [{}, 0, 'copy'],
  // Free routing by a router of zeros: every token goes to experts 0 and 1, so that no layer error shows expert 3.
  [{ router: { init: 'zero', kind: 'top-k', train_mode: 'free' } }, 3, 'copy'],
] as [Settings, number, string][])(
  '%j: one changed number in expert %i is noticed',
  async (settings, expert, named) => {
    const spec = toySpec(settings, true);
    const dense = createModel(spec, toyWeights(spec));
    damage.name = `model.layers.2.mlp.experts.${expert}.down_proj.weight`;
    await expect(growExperts(dense, toyConfig(settings), toyMap, sample, rng())).rejects.toThrow(
      new RegExp(`upcycling changed the model.*experts.${expert}.*${named}`),
    );
    damage.name = '';
    disposeModel(dense);
  },
);

test('an output that is wrong although every expert is a copy is noticed too', async () => {
  const settings = { model: { shared_expert: true } };
  const spec = toySpec(settings, true);
  const dense = createModel(spec, toyWeights(spec));
  damage.name = 'model.layers.1.mlp.shared_expert.up_proj.weight';
  await expect(growExperts(dense, toyConfig(settings), toyMap, sample, rng())).rejects.toThrow('layer error');
  damage.name = '';
  disposeModel(dense);
});

test.each([
  { model: { capacity_factor: 0.5 } },
  { router: { kind: 'expert-choice', train_mode: 'free' } },
  { router: { kind: 'hash', train_mode: 'free' } },
  { router: { kind: 'language' }, model: { num_experts_per_tok: 1 } },
] as Settings[])('%j grows', async settings => {
  const { dense, growth } = await grown(settings);
  expect(growth.error).toBeLessThan(1e-5);
  disposeModel(dense);
  disposeModel(growth.model);
});

describe('hidden-mean start on synthetic languages', () => {
  const { languages, corpus } = syntheticCorpus({ seed: 'grow', families: [2, 2, 2, 2], items: 24 });
  const tokenizer = bytesTokenizer();
  const experts = [0, 1, 2, 3];
  const map: FamilyMap = { languages, numExperts: 4, expertNames: experts.map(e => `family-${e}`) };
  const documents = (split: string) =>
    tokenizeDocuments(
      corpus.documents.filter(document => document.split === split),
      languages,
      tokenizer,
    );

  /** Share of each family's held-out tokens whose first choice is the family's own expert, by layer. */
  async function ownShare(init: 'hidden-mean' | 'normal'): Promise<number[]> {
    const config = toyConfig({ model: { num_hidden_layers: 2, hidden_size: 64 }, router: { init, init_std: 0.5 } });
    const spec = modelSpec(config.model, config.router, map, tokenizer.vocabSize, true);
    const dense = createModel(spec, toyWeights(spec));
    const { model } = await growExperts(dense, config, map, documents('train'), rng());
    const own = new Float64Array(4);
    const all = new Float64Array(4);
    await documentLosses(model, documents('validation'), languages, {
      mode: 'free',
      batch: 4,
      sequence: 128,
      padId: tokenizer.eosId,
      onRouting: ({ layer, expertId_TK, k }, batch) => {
        batch.language_BS.forEach((language, t) => {
          if (language < 0 || layer !== 1) return;
          const family = languages[language].expert;
          all[family]++;
          if (expertId_TK[t * k] === family) own[family]++;
        });
      },
    });
    disposeModel(dense);
    disposeModel(model);
    return experts.map(family => own[family] / all[family]);
  }

  test('more of every family’s tokens than chance start at its own expert', async () => {
    const informed = await ownShare('hidden-mean');
    const random = await ownShare('normal');
    for (const share of informed) expect(share).toBeGreaterThan(0.5); // chance is 0.25; 0.99, 0.79, 1.00, 0.98 when written
    const mean = (shares: number[]) => shares.reduce((a, b) => a + b, 0) / 4;
    expect(mean(informed)).toBeGreaterThan(mean(random) + 0.05);
  });
});
