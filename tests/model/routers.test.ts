// Every router in every mode trains a step; balance, bias, shared expert and capacity do what they say inside a model.

import { beforeAll, describe, expect, test } from 'vitest';
import { balanceLoss, pooledBalanceLoss, zLoss } from '../../routing/balance.ts';
import type { RouterKind, Routing } from '../../routing/types.ts';
import { MODES } from '../../routing/types.ts';
import type { Config } from '../../src/config/schema.ts';
import { NO_LABEL } from '../../src/data/pack.ts';
import type { Batch } from '../../src/data/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { hostIntegers } from '../../src/engine/integers.ts';
import { linear } from '../../src/engine/ops/linear.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import { tokenLosses } from '../../src/model/loss.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { disposeModel, hostTensors, type Model } from '../../src/model/weights.ts';
import { createOptimizer } from '../../src/train/optimizer.ts';
import { type StepResult, trainStep } from '../../src/train/step.ts';
import { createWatch } from '../../src/train/watch.ts';
import {
  gradientsOf,
  logitsOf,
  tidied,
  toyBatches,
  toyConfig,
  toyDocuments,
  toyExperts,
  toyModel,
  valuesOf,
} from './toy.ts';

beforeAll(() => selectBackend('wasm').then(() => undefined));

const batch = toyBatches(toyDocuments([9, 14, 6, 11]), 2, 24)[0];
const empty: Batch = { ...batch, label_BS: batch.label_BS.map(() => NO_LABEL) };
const ROUTER = 'model.layers.1.mlp.gate.weight';

/** One optimizer step on these micro-batches, and then the batch again without end. */
async function stepOn(model: Model, config: Config, batches: Batch[], rate = 0.01): Promise<StepResult> {
  const optimizer = createOptimizer(model.weights, {
    ...config.train,
    weightDecay: 0,
    decayEmbeddings: false,
    decayNorms: false,
  });
  const rest = [...batches];
  const stream = { next: () => rest.shift() ?? batch, state: () => ({}) };
  const common = { step: 1, learningRate: rate, model, optimizer, stream, watch: createWatch(), config };
  try {
    return await trainStep({ ...common, expertOfLanguage: toyExperts });
  } finally {
    optimizer.dispose();
  }
}
const weightsOf = async (model: Model) =>
  new Map(Array.from(await hostTensors(model), ([name, { values }]) => [name, values]));

const everyMode = (Object.keys(MODES) as RouterKind[]).flatMap(kind => MODES[kind].map(mode => [kind, mode] as const));

test.each(everyMode)(
  '%s in mode %s: one step lowers the loss, its gradient is the slope of the loss',
  async (kind, mode) => {
    const settings = {
      router: { kind, train_mode: mode, hint_bias: 3, balance_coefficient: 0.01, z_coefficient: 0.001 },
      model: { num_experts_per_tok: kind === 'language' ? 1 : 2, norm_topk_prob: false },
    };
    const model = toyModel(settings);
    const { loss, auxiliary, gradients } = await gradientsOf(model, batch, { mode });
    // Along the gradient the loss falls by its squared length; a central difference says so to 2 %.
    const square = [...gradients.values()].reduce((sum, g) => sum + g.reduce((s, v) => s + v * v, 0), 0);
    const length = 1e-4 / Math.sqrt(square); // so short that no choice of expert changes
    const moved = async (step: number): Promise<number> => {
      const shifted = nudged(model, gradients, step);
      const value = await gradientsOf(shifted, batch, { mode });
      disposeModel(shifted);
      return value.loss + value.auxiliary;
    };
    expect(((await moved(length)) - (await moved(-length))) / (2 * length) / square).toBeCloseTo(1, 1.4);
    const before = await weightsOf(model);
    const config = toyConfig(settings);
    const result = await stepOn(model, config, [batch], 0.003);
    expect(result).toMatchObject({ loss, auxiliary, stop: null });
    const after = await weightsOf(model);
    const unmoved = [...after].filter(([name, values]) => values.every((value, i) => value === before.get(name)![i]));
    expect(unmoved.map(([name]) => name)).toEqual([]);
    expect((await gradientsOf(model, batch, { mode })).loss).toBeLessThan(loss);
    disposeModel(model);
  },
);

/** A copy of the model, each weight moved by `step` times its gradient. */
function nudged(model: Model, gradients: Map<string, Float32Array>, step: number): Model {
  const weights = new Map(
    [...model.weights].map(([name, weight]) => {
      const moved = valuesOf(weight).map((value, i) => value + step * gradients.get(name)![i]);
      return [name, tf.tidy(() => tf.variable(tf.tensor(moved, weight.shape)))] as const;
    }),
  );
  return { ...model, weights };
}

test('what teaches the router: forced hybrid-k and top-k do, the language and hash baselines do not', async () => {
  const gradient = async (kind: RouterKind, mode: 'forced' | 'free', k: number) => {
    const model = toyModel({ router: { kind }, model: { num_experts_per_tok: k, norm_topk_prob: false } });
    const { gradients } = await gradientsOf(model, batch, { mode });
    disposeModel(model);
    return Math.max(...gradients.get(ROUTER)!.map(Math.abs));
  };
  expect(await gradient('hybrid-k', 'forced', 2)).toBeGreaterThan(1e-3);
  expect(await gradient('top-k', 'free', 2)).toBeGreaterThan(1e-3);
  expect(await gradient('language', 'forced', 1)).toBe(0);
  expect(await gradient('hash', 'free', 2)).toBe(0);
});

describe('auxiliary losses are those of routing/balance.ts, times their coefficients', () => {
  /** Runs the batch and keeps, per mixture layer, what was routed and the router's logits. */
  function collect(model: Model) {
    const inputs = new Map<number, Tensor2D>();
    const layers: { routing: Routing; logits_TE: Tensor2D }[] = [];
    logitsOf(model, tokenInput(batch, toyExperts), {
      mode: 'forced',
      onFfnInput: (layer, x_TD) => inputs.set(layer, x_TD),
      onRouting: (layer, routing) => {
        const router_ED = model.weights.get(`model.layers.${layer}.mlp.gate.weight`) as unknown as Tensor2D;
        const logits_TE = tf.keep(linear(inputs.get(layer)!, router_ED));
        layers.push({
          logits_TE,
          routing: { ...routing, probabilities_TE: tf.keep(routing.probabilities_TE.clone()) },
        });
      },
    });
    return layers;
  }
  const { counted_T } = tokenInput(batch, toyExperts);
  const settings = (balance_scope: 'layer' | 'pooled') => ({
    router: { balance_scope, balance_coefficient: 0.3, z_coefficient: 0.05 },
  });

  test.each(['layer', 'pooled'] as const)('%s', async scope => {
    const model = toyModel(settings(scope));
    const layers = collect(model);
    expect(layers.length).toBe(2);
    const expected = tidied(() => {
      const z = layers.reduce((sum, { logits_TE }) => sum + zLoss(logits_TE, counted_T).dataSync()[0], 0);
      const all = layers.map(({ routing }) => routing.probabilities_TE);
      const balance =
        scope === 'pooled'
          ? pooledBalanceLoss(all, counted_T, 2).dataSync()[0]
          : layers.reduce((sum, { routing }) => sum + balanceLoss(routing, counted_T, 'assigned').dataSync()[0], 0);
      return 0.3 * balance + 0.05 * z;
    });
    expect((await gradientsOf(model, batch, { mode: 'forced' })).auxiliary).toBeCloseTo(expected, 5);
    tf.dispose(layers.flatMap(({ routing, logits_TE }) => [routing.probabilities_TE, logits_TE]));
    disposeModel(model);
  });
});

describe('loss-free balancing', () => {
  test('a step moves each layer’s bias by the rate, against the load', async () => {
    const settings = { router: { bias_rate: 0.01 } };
    const model = toyModel(settings);
    const loads = new Map<number, Float64Array>();
    await gradientsOf(model, batch, {
      mode: 'forced',
      onRouting: (layer, _, load_E) => loads.set(layer, load_E as Float64Array),
    });
    const { load_E } = await stepOn(model, toyConfig(settings), [batch]);
    expect(load_E).toEqual(loads.get(1)!.map((load, e) => load + loads.get(2)![e]));
    for (const layer of [1, 2]) {
      const load = loads.get(layer)!;
      expect(load.reduce((a, b) => a + b, 0)).toBe(2 * 40); // k slots of 40 real tokens, mean 20
      const expected = Float32Array.from(load, count => 0.01 * Math.sign(20 - count));
      expect(expected.some(bias => bias !== 0)).toBe(true);
      expect(model.selectionBias.get(layer)).toEqual(expected);
    }
    disposeModel(model);
  });

  test('a large bias decides who is chosen and leaves the gates alone', () => {
    const model = toyModel({ router: { bias_rate: 0.01, kind: 'top-k' }, model: { norm_topk_prob: false } });
    model.selectionBias.get(1)!.set([0, 0, 0, 5]);
    logitsOf(model, tokenInput(batch, null), {
      mode: 'free',
      onRouting: (layer, { expertId_TK, gate_TK, probabilities_TE }) => {
        if (layer !== 1) return;
        const [gate, p] = [gate_TK.dataSync(), probabilities_TE.dataSync()];
        for (let t = 0; t < gate.length / 2; t++) {
          expect(hostIntegers(expertId_TK)[2 * t]).toBe(3);
          expect(gate[2 * t]).toBe(p[4 * t + 3]);
        }
      },
    });
    disposeModel(model);
  });
});

test('a shared expert adds sigmoid(w·x) · FFN(x) to every token: with a shut gate it is not there', () => {
  const plain = toyModel();
  const shared = toyModel({ model: { shared_expert: true } });
  for (const [name, weight] of plain.weights) shared.weights.get(name)!.assign(weight);
  const tokens = tokenInput(batch, toyExperts);
  const without = logitsOf(plain, tokens, { mode: 'forced' }).flat();
  expect(logitsOf(shared, tokens, { mode: 'forced' }).flat()).not.toEqual(without);
  for (const [name, weight] of shared.weights)
    if (name.endsWith('shared_expert.down_proj.weight')) tf.tidy(() => weight.assign(tf.zerosLike(weight)));
  expect(logitsOf(shared, tokens, { mode: 'forced' }).flat()).toEqual(without);
  disposeModel(plain);
  disposeModel(shared);
});

test('capacity: dropped slots get no gradient, plenty of it changes no bit', async () => {
  const gradients = async (capacity_factor: number | null) => {
    const model = toyModel({ model: { capacity_factor } });
    const result = await gradientsOf(model, batch, { mode: 'forced' });
    disposeModel(model);
    return result;
  };
  const dropless = await gradients(null);
  expect((await gradients(4)).loss).toBe(dropless.loss);
  const tight = await gradients(0.25);
  expect(tight.loss).not.toBe(dropless.loss);
  for (const [name, values] of tight.gradients) expect(values.every(Number.isFinite), name).toBe(true);
  expect(tight.gradients.get('model.layers.2.mlp.experts.0.up_proj.weight')!.some(value => value !== 0)).toBe(true);
});

describe('nothing to learn', () => {
  test('a micro-batch without labels has loss 0 and gradients 0', async () => {
    const model = toyModel();
    const { loss, learnedTokens, gradients } = await gradientsOf(model, empty, { mode: 'forced' });
    expect([loss, learnedTokens]).toEqual([0, 0]);
    for (const [name, values] of gradients)
      expect(
        values.every(value => value === 0),
        name,
      ).toBe(true);
    disposeModel(model);
  });

  test('such micro-batches are passed over, also between two that teach', async () => {
    const run = async (accumulation: number, batches: Batch[]) => {
      const model = toyModel();
      const result = await stepOn(model, toyConfig({ train: { accumulation } }), batches);
      const after = await weightsOf(model);
      disposeModel(model);
      return { result, after };
    };
    const alone = await run(1, [batch]);
    const passedOver = await run(1, [empty, empty, batch]);
    expect(passedOver).toEqual(alone);
    expect(passedOver.result.stop).toBe(null);
    expect(await run(2, [batch, empty, batch])).toEqual(await run(2, [batch, batch]));
    expect(alone.result.tokens).toBe(batch.label_BS.filter(label => label >= 0).length);
  });

  test('data without a single label ends with a sentence, not with a loss that is not a number', async () => {
    const model = toyModel();
    await expect(stepOn(model, toyConfig(), Array(200).fill(empty))).rejects.toThrow('to learn');
    disposeModel(model);
  });

  test('losses per token are 0 where nothing is predicted', async () => {
    const model = toyModel();
    const losses = await tokenLosses(model, tokenInput(batch, null), batch.label_BS, { mode: 'free' });
    batch.label_BS.forEach((label, t) => {
      if (label < 0) expect(losses[t]).toBe(0);
      else expect(losses[t]).toBeGreaterThan(0);
    });
    disposeModel(model);
  });
});
