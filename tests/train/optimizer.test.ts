import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { selectBackend } from '../../src/engine/backend.ts';
import type { Tensor, Variable } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import { UserError } from '../../src/errors.ts';
import {
  createOptimizer,
  learningGroup,
  type NamedTensor,
  type OptimizerSettings,
  weightDecayOf,
} from '../../src/train/optimizer.ts';
import { createRng } from '../../src/train/rng.ts';

interface Golden {
  shapes: Record<string, number[]>;
  initial: Record<string, number[]>;
  steps: { learningRate: number; gradients: Record<string, number[]>; after: Record<string, number[]> }[];
  state: Record<string, { exp_avg: number[]; exp_avg_sq: number[]; step: number }>;
}
const golden = JSON.parse(readFileSync(new URL('../golden/train/adamw.json', import.meta.url), 'utf8')) as Golden;
const settings: OptimizerSettings = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.1,
  decayEmbeddings: false,
  decayNorms: false,
  multipliers: { router: 10, experts: 0.5, trunk: 1 },
};

const names = Object.keys(golden.shapes);
const router = 'model.layers.1.mlp.gate.weight';
const expert = 'model.layers.1.mlp.experts.0.up_proj.weight';
let parameters = new Map<string, Variable>();

beforeAll(async () => void (await selectBackend('cpu')));
const makeParameters = (): Map<string, Variable> =>
  new Map(names.map(name => [name, tf.tidy(() => tf.variable(tf.tensor(golden.initial[name], golden.shapes[name])))]));
beforeEach(() => {
  parameters = makeParameters();
});
afterEach(() => tf.dispose([...parameters.values()]));

function gradientsOf(index: number, only = names): Map<string, Tensor> {
  const { gradients } = golden.steps[index];
  return new Map(only.map(name => [name, tf.tensor(gradients[name], golden.shapes[name])]));
}
function stepWith(optimizer: ReturnType<typeof createOptimizer>, index: number, only = names): string[] {
  const gradients = gradientsOf(index, only);
  const without = optimizer.step(gradients, golden.steps[index].learningRate);
  tf.dispose([...gradients.values()]);
  return without;
}
const bits = (values: ArrayLike<number>): number[] => [...new Int32Array(Float32Array.from(values).buffer)];
const bitsOf = (map: Map<string, Variable>): number[][] => [...map.values()].map(variable => bits(variable.dataSync()));

describe('AdamW over named parameters', () => {
  it('one step by hand: m̂ / √v̂ is the sign, so the weight moves by the learning rate after decay', () => {
    const weight = tf.tidy(() => tf.variable(tf.tensor2d([[2]])));
    const optimizer = createOptimizer(new Map([['x.q_proj.weight', weight]]), settings);
    const gradient = tf.tensor2d([[5]]);
    optimizer.step(new Map([['x.q_proj.weight', gradient]]), 0.01);
    // 2 · (1 − 0.01 · 0.1) − 0.01 · 1
    expect(weight.dataSync()[0]).toBeCloseTo(1.988, 6);
    optimizer.dispose();
    tf.dispose([weight, gradient]);
  });

  it('follows torch.optim.AdamW for five steps: trunk, bias, norm, router × 10, expert × 0.5', async () => {
    const optimizer = createOptimizer(parameters, settings);
    for (const [index, { after }] of golden.steps.entries()) {
      expect(stepWith(optimizer, index)).toEqual([]);
      for (const name of names) {
        const values = parameters.get(name)!.dataSync();
        for (const [i, value] of after[name].entries()) expect(Math.abs(values[i] - value)).toBeLessThan(1e-6);
      }
    }
    const state = new Map((await optimizer.exportState()).map(([name, { values }]) => [name, values]));
    for (const name of names) {
      for (const kind of ['exp_avg', 'exp_avg_sq'] as const)
        for (const [i, value] of golden.state[name][kind].entries())
          expect(Math.abs(state.get(`${name}.${kind}`)![i] - value)).toBeLessThan(1e-7);
      expect([...state.get(`${name}.step`)!]).toEqual([golden.state[name].step]);
    }
    optimizer.dispose();
  });

  it('a gradient scale gives the bits of gradients that were scaled before', () => {
    const copies = makeParameters();
    const [scaling, plain] = [createOptimizer(parameters, settings), createOptimizer(copies, settings)];
    for (const index of [0, 1, 2]) {
      const gradients = gradientsOf(index);
      const scaled = new Map([...gradients].map(([name, gradient]) => [name, tf.mul(gradient, 0.3)]));
      scaling.step(gradients, 0.01, 0.3);
      plain.step(scaled, 0.01);
      tf.dispose([...gradients.values(), ...scaled.values()]);
    }
    expect(bitsOf(parameters)).toEqual(bitsOf(copies));
    tf.dispose([...copies.values()]);
    scaling.dispose();
    plain.dispose();
  });

  it('groups by Hugging Face name', () => {
    expect(learningGroup(router)).toBe('router');
    expect(learningGroup(expert)).toBe('experts');
    for (const name of [
      'model.embed_tokens.weight',
      'model.layers.1.mlp.gate_proj.weight',
      'model.layers.1.mlp.shared_expert.up_proj.weight',
      'model.layers.1.mlp.shared_expert_gate.weight',
    ])
      expect(learningGroup(name)).toBe('trunk');
  });

  it('decay groups: matrices always, norms and embeddings by setting, biases never', () => {
    const decay = (name: string, rank: number, change = {}) => weightDecayOf(name, rank, { ...settings, ...change });
    expect(decay('model.layers.0.mlp.up_proj.weight', 2)).toBe(0.1);
    expect(decay('lm_head.weight', 2)).toBe(0.1);
    expect(decay('model.layers.0.self_attn.q_proj.bias', 1, { decayNorms: true })).toBe(0);
    for (const norm of ['model.norm.weight', 'model.layers.0.post_attention_layernorm.weight']) {
      expect(decay(norm, 1)).toBe(0);
      expect(decay(norm, 1, { decayNorms: true })).toBe(0.1);
    }
    expect(decay('model.embed_tokens.weight', 2)).toBe(0);
    expect(decay('model.embed_tokens.weight', 2, { decayEmbeddings: true })).toBe(0.1);
  });

  it('a multiplier of 0 freezes: no bit of the experts moves and no state is kept for them', async () => {
    const before = bits(parameters.get(expert)!.dataSync());
    const optimizer = createOptimizer(parameters, { ...settings, multipliers: { router: 1, experts: 0, trunk: 1 } });
    stepWith(optimizer, 0);
    expect(bits(parameters.get(expert)!.dataSync())).toEqual(before);
    expect((await optimizer.exportState()).map(([name]) => name)).not.toContain(`${expert}.exp_avg`);
    optimizer.dispose();
  });

  it('a parameter without gradient is named and left alone, and its count of updates stays', async () => {
    const before = bits(parameters.get(router)!.dataSync());
    const optimizer = createOptimizer(parameters, settings);
    expect(
      stepWith(
        optimizer,
        0,
        names.filter(name => name !== router),
      ),
    ).toEqual([router]);
    expect(bits(parameters.get(router)!.dataSync())).toEqual(before);
    const steps = (await optimizer.exportState()).filter(([name]) => name.endsWith('.step'));
    expect(steps.map(([, { values }]) => values[0])).toEqual([1, 1, 1, 0, 1]);
    optimizer.dispose();
  });

  it('goes on with the same bits from an exported state', async () => {
    const optimizer = createOptimizer(parameters, settings);
    for (const index of [0, 1, 2]) stepWith(optimizer, index);
    const state = await optimizer.exportState();
    const copies = new Map([...parameters].map(([name, variable]) => [name, tf.variable(variable)]));
    const resumed = createOptimizer(copies, settings);
    resumed.importState(state);
    for (const index of [3, 4]) {
      stepWith(optimizer, index);
      stepWith(resumed, index);
    }
    expect(bitsOf(copies)).toEqual(bitsOf(parameters));
    const flat = (arrays: NamedTensor[]) => arrays.map(([name, { shape, values }]) => [name, shape, bits(values)]);
    expect(flat(await resumed.exportState())).toEqual(flat(await optimizer.exportState()));
    tf.dispose([...copies.values()]);
    optimizer.dispose();
    resumed.dispose();
  });

  it('export and import keep every bit, the odd ones too: −0, subnormals, extremes', async () => {
    const optimizer = createOptimizer(parameters, settings);
    const rng = createRng('state');
    const odd = [-0, 1e-45, -1e-38, 3.4028234663852886e38];
    const state = (await optimizer.exportState()).map(([name, { shape, values }]): NamedTensor => {
      if (name.endsWith('.step')) return [name, { shape, values: Float32Array.of(16_777_215) }];
      return [name, { shape, values: values.map((_, i) => odd[i] ?? rng.gaussian()) }];
    });
    optimizer.importState(state);
    const again = await optimizer.exportState();
    expect(again.map(([, { values }]) => bits(values))).toEqual(state.map(([, { values }]) => bits(values)));
    optimizer.dispose();
  });

  it('an exported state is a copy: later steps do not change it', async () => {
    const optimizer = createOptimizer(parameters, settings);
    stepWith(optimizer, 0);
    const state = await optimizer.exportState();
    const before = state.map(([, { values }]) => bits(values));
    stepWith(optimizer, 1);
    expect(state.map(([, { values }]) => bits(values))).toEqual(before);
    optimizer.dispose();
  });

  it('refuses the state of another model in one sentence, and changes nothing', async () => {
    const optimizer = createOptimizer(parameters, settings);
    stepWith(optimizer, 0);
    const state = await optimizer.exportState();
    const zeros = state.map(([name, { shape, values }]): NamedTensor => [name, { shape, values: values.map(() => 0) }]);
    const wrong: [RegExp, NamedTensor[]][] = [
      [
        /lacks model\.layers\.1\.mlp\.experts\.0\.up_proj\.weight\.step: it belongs to another model\.$/,
        zeros.slice(0, -1),
      ],
      [
        /has 9 values in model.*q_proj\.weight\.exp_avg, the model needs 12\.$/,
        zeros.with(0, [zeros[0][0], { shape: [9], values: new Float32Array(9) }]),
      ],
      [
        /has other\.exp_avg, which this model does not train\.$/,
        [...zeros, ['other.exp_avg', { shape: [1], values: new Float32Array(1) }]],
      ],
    ];
    for (const [sentence, foreign] of wrong) {
      expect(() => optimizer.importState(foreign)).toThrow(UserError);
      expect(() => optimizer.importState(foreign)).toThrow(sentence);
    }
    expect(await optimizer.exportState()).toEqual(state);
    optimizer.dispose();
  });
});
