// Our logits beside the transformers library's Qwen2, and a whole mixture model (logits, losses, gradients, 20 steps of
// training) beside torch in double precision: tests/golden/model.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Batch } from '../../src/data/types.ts';
import { selectBackend } from '../../src/engine/backend.ts';
import { readFloat32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { type ModelSpec, modelSpec, tensorSpecs } from '../../src/model/spec.ts';
import type { TokenInput } from '../../src/model/token-input.ts';
import { createModel, disposeModel, type HostTensor, hostTensors, type Model } from '../../src/model/weights.ts';
import { createOptimizer, optimizerSettings } from '../../src/train/optimizer.ts';
import { learningRate } from '../../src/train/schedule.ts';
import { trainStep } from '../../src/train/step.ts';
import { createWatch } from '../../src/train/watch.ts';
import { difference, gradientsOf, logitsOf, relativeDifference, toyConfig } from './toy.ts';

const folder = fileURLToPath(new URL('../golden/model/', import.meta.url));
const readJson = (name: string) => JSON.parse(readFileSync(`${folder}${name}.json`, 'utf8'));
function readTensors(name: string): Map<string, HostTensor> {
  const { tensors } = readSafetensors(`${folder}${name}.safetensors`);
  return new Map(
    [...tensors.values()].map(entry => [entry.name, { shape: [...entry.shape], values: readFloat32(entry) }]),
  );
}
/** Only what the model has: a tied head and an absent shared expert are left in the file. */
const modelFrom = (spec: ModelSpec, tensors: Map<string, HostTensor>): Model =>
  createModel(spec, new Map(tensorSpecs(spec).map(({ name }) => [name, tensors.get(name)!])));

const argmax = (row: number[]) => row.indexOf(Math.max(...row));

describe.each(['cpu', 'wasm'] as const)('Qwen2 of the transformers library on %s', backend => {
  const { common, models, batches } = readJson('qwen2') as {
    common: Record<string, number>;
    models: Record<string, { tie_word_embeddings: boolean; rope_theta: number }>;
    batches: Record<string, { ids: number[][]; mask: number[][] }>;
  };
  const tensors = readTensors('qwen2');
  const cases = Object.keys(models).flatMap(model => Object.keys(batches).map(batch => [model, batch]));

  test.each(cases)('%s head, %s batch: logits within 1e-5, same best token', async (name, batchName) => {
    await selectBackend(backend);
    const { model, router } = toyConfig({ model: { ...common, ...models[name], moe_layers: 'none' } });
    const ours = modelFrom(modelSpec(model, router, { numExperts: 1 }, common.vocab_size), tensors);
    const { ids, mask } = batches[batchName];
    const logits = logitsOf(ours, maskedInput(ids, mask), { mode: 'free' });
    const { values, shape } = tensors.get(`logits.${name}.${batchName}`)!;
    const V = shape[2];
    const real = mask.flat().flatMap((m, t) => (m === 1 ? [t] : []));
    const golden = real.map(t => [...values.subarray(t * V, (t + 1) * V)]);
    const found = real.map(t => logits[t]);
    expect(found.map(argmax)).toEqual(golden.map(argmax));
    expect(relativeDifference(found.flat(), golden.flat())).toBeLessThan(1e-6);
    expect(difference(found.flat(), golden.flat())).toBeLessThan(1e-5);
    disposeModel(ours);
  });
});

/** Positions count real tokens only, as transformers does for a padded batch. */
function maskedInput(ids: number[][], mask: number[][]): TokenInput {
  const positions = mask.map(row => {
    let seen = 0;
    return row.map(m => (m === 1 ? seen++ : 0));
  });
  return {
    batch: ids.length,
    sequence: ids[0].length,
    id_T: Int32Array.from(ids.flat()),
    position_T: Int32Array.from(positions.flat()),
    segment_T: Int32Array.from(mask.flatMap((row, b) => row.map(m => (m === 1 ? b : -1)))),
    languageExpert_T: null,
    counted_T: Uint8Array.from(mask.flat()),
  };
}

interface Case {
  mode: 'forced' | 'free';
  normalise: boolean;
  shared: boolean;
  tied: boolean;
  scope: 'layer' | 'pooled';
  balance: number;
  z: number;
  loss: number;
  auxiliary: number;
}
type GoldenBatch = Record<'ids' | 'segment' | 'position' | 'expert' | 'label', number[]>;
interface Golden {
  sizes: Record<'V' | 'D' | 'F' | 'H' | 'G' | 'E' | 'K' | 'B' | 'S' | 'theta' | 'epsilon', number>;
  cases: Record<string, Case>;
  batch: GoldenBatch;
  batches: GoldenBatch[];
  training: {
    steps: number;
    warmup: number;
    peak: number;
    final: number;
    beta2: number;
    runs: Record<string, { losses: number[]; norms: number[] }>;
  };
}

describe.each(['cpu', 'wasm'] as const)(
  'a dense layer and a mixture beside torch in double precision on %s',
  backend => {
    const golden = readJson('family-moe') as Golden;
    const { sizes, cases, training } = golden;
    const tensors = readTensors('family-moe');

    const configOf = (goldenCase: Case) =>
      toyConfig({
        model: {
          hidden_size: sizes.D,
          intermediate_size: sizes.F,
          num_hidden_layers: 2,
          num_attention_heads: sizes.H,
          num_key_value_heads: sizes.G,
          rope_theta: sizes.theta,
          rms_norm_eps: sizes.epsilon,
          moe_layers: 'last 1',
          num_experts_per_tok: sizes.K,
          norm_topk_prob: goldenCase.normalise,
          shared_expert: goldenCase.shared,
          tie_word_embeddings: goldenCase.tied,
        },
        router: {
          train_mode: goldenCase.mode,
          balance_coefficient: goldenCase.balance,
          balance_scope: goldenCase.scope,
          z_coefficient: goldenCase.z,
        },
        train: {
          multipliers: { router: 1, experts: 1, trunk: 1 },
          beta2: training.beta2,
          weight_decay: 0.1,
          decay_embeddings: true,
          decay_norms: false,
          clip: 1,
        },
      });
    const modelOf = (goldenCase: Case): Model => {
      const { model, router } = configOf(goldenCase);
      return modelFrom(modelSpec(model, router, { numExperts: sizes.E }, sizes.V), tensors);
    };
    /** The golden's languages are given by their experts, so language id and expert id are one. */
    const batchOf = ({ ids, segment, position, expert, label }: GoldenBatch): Batch => ({
      batch: sizes.B,
      sequence: sizes.S,
      inputId_BS: Int32Array.from(ids),
      label_BS: Int32Array.from(label),
      language_BS: Int32Array.from(expert),
      document_BS: Int32Array.from(segment),
      position_BS: Int32Array.from(position),
      segment_BS: Int32Array.from(segment),
    });
    const experts = Int32Array.from({ length: sizes.E }, (_, e) => e);

    test.each(Object.keys(cases))('%s: logits, losses and the gradient of every tensor', async name => {
      await selectBackend(backend);
      const goldenCase = cases[name];
      const model = modelOf(goldenCase);
      const batch = batchOf(golden.batch);
      const { mode } = goldenCase;
      const tokens = {
        batch: sizes.B,
        sequence: sizes.S,
        id_T: batch.inputId_BS,
        position_T: batch.position_BS,
        segment_T: batch.segment_BS,
        languageExpert_T: batch.language_BS,
        counted_T: Uint8Array.from(batch.segment_BS, segment => (segment < 0 ? 0 : 1)),
      };
      const logits = logitsOf(model, tokens, { mode }).map((row, t) =>
        batch.segment_BS[t] < 0 ? row.map(() => 0) : row,
      );
      expect(difference(logits.flat(), tensors.get(`${name}/logits`)!.values)).toBeLessThan(1e-5);
      const { loss, auxiliary, gradients } = await gradientsOf(model, batch, { mode }, experts);
      expect(loss).toBeCloseTo(goldenCase.loss, 5);
      expect(auxiliary).toBeCloseTo(goldenCase.auxiliary, 5);
      expect([...gradients.keys()]).toEqual([...model.weights.keys()]);
      for (const [tensor, values] of gradients) {
        const apart = relativeDifference(values, tensors.get(`${name}/gradient/${tensor}`)!.values);
        expect(apart, tensor).toBeLessThan(1e-4);
      }
      disposeModel(model);
    });

    test.each(Object.keys(training.runs))('%s: 20 steps of AdamW have the same losses and norms', async name => {
      await selectBackend(backend);
      const config = configOf(cases[name]);
      const model = modelOf(cases[name]);
      const optimizer = createOptimizer(model.weights, optimizerSettings(config));
      const watch = createWatch();
      let read = 0;
      const stream = { next: () => batchOf(golden.batches[read++ % golden.batches.length]), state: () => ({}) };
      const { steps, warmup, peak, final } = training;
      const losses: number[] = [];
      const norms: number[] = [];
      for (let step = 1; step <= steps; step++) {
        const rate = learningRate(step, {
          kind: 'cosine',
          peak,
          steps,
          warmup: { steps: warmup },
          horizon: 1,
          finalRatio: final,
        });
        const common = { step, learningRate: rate, model, optimizer, stream, watch, config };
        const result = await trainStep({ ...common, expertOfLanguage: experts });
        losses.push(result.loss);
        norms.push(result.gradientNorm);
      }
      expect(difference(losses, training.runs[name].losses)).toBeLessThan(1e-4);
      expect(relativeDifference(norms, training.runs[name].norms)).toBeLessThan(1e-4);
      const router = (await hostTensors(model)).get('model.layers.1.mlp.gate.weight')!;
      expect(difference(router.values, tensors.get(`trained/${name}/router`)!.values)).toBeLessThan(1e-3);
      optimizer.dispose();
      disposeModel(model);
    });
  },
);
