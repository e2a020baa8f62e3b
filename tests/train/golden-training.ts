// The runs of tests/golden/hf/train.py made again by this program: the same checkpoint, batches and settings.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Config } from '../../src/config/schema.ts';
import type { Batch } from '../../src/data/types.ts';
import { readModelFolder } from '../../src/hub/model-folder.ts';
import { readFloat32, readInt32, readSafetensors } from '../../src/hub/read-safetensors.ts';
import { recordRoutings } from '../../src/model/observed.ts';
import { disposeModel, type HostTensor, hostTensors, type Model } from '../../src/model/weights.ts';
import { openWithoutTokenizer } from '../../src/train/open.ts';
import { createOptimizer, optimizerSettings } from '../../src/train/optimizer.ts';
import { type StepResult, trainStep } from '../../src/train/step.ts';
import { createWatch } from '../../src/train/watch.ts';
import { difference, gradientsOf, relativeDifference, toyConfig } from '../model/toy.ts';

const HOME = join(import.meta.dirname, '..', 'golden', 'hf');
export const at = (...path: string[]): string => join(HOME, ...path);
const json = (...path: string[]) => JSON.parse(readFileSync(at(...path), 'utf8'));

/** All [B][S]; `target` is shifted already, −100 where nothing is learned. */
interface GoldenBatch {
  ids: number[][];
  mask: number[][];
  target: number[][];
  /** Expert of each token's language. */
  language_expert: number[][];
}
interface Training {
  optimizer: Record<'learning_rate' | 'beta1' | 'beta2' | 'epsilon' | 'weight_decay' | 'clip', number> & {
    decayed: string[];
  };
  batches: GoldenBatch[];
  steps: { loss: number; gradient_norm: number }[];
  norms_after: Record<string, number>;
}

export const trainings = ['qwen2-tied', 'apollo'] as const;
export const trainingOf = (name: string): Training => json('training', `${name}.json`);
const openGolden = (name: string): Model => openWithoutTokenizer(readModelFolder(at(name)));

/** Seven languages, each its own expert: ids of languages are ids of experts. */
const EXPERTS = Int32Array.from({ length: 7 }, (_, expert) => expert);

/** The settings as a user would give them: one rate for all groups, the rest of the optimizer by default. */
export function configOf({ optimizer }: Training): Config {
  const { decayed: _, ...same } = optimizer;
  const multipliers = { router: 1, experts: 1, trunk: 1 };
  return toyConfig({ train: { ...same, multipliers }, router: { train_mode: 'forced' } });
}

/** Rows are padded on the right; a row is one attention group even where its language changes. */
function batchOf({ ids, mask, target, language_expert }: GoldenBatch): Batch {
  const [batch, sequence] = [ids.length, ids[0].length];
  const real = mask.flat();
  const languages = language_expert.flat();
  const row_T = real.map((isReal, t) => (isReal === 1 ? Math.floor(t / sequence) : -1));
  return {
    batch,
    sequence,
    inputId_BS: Int32Array.from(ids.flat()),
    label_BS: Int32Array.from(target.flat()),
    language_BS: Int32Array.from(languages, (language, t) => (real[t] === 1 ? language : -1)),
    document_BS: Int32Array.from(row_T),
    position_BS: Int32Array.from(real, (isReal, t) => (isReal === 1 ? t % sequence : 0)),
    segment_BS: Int32Array.from(row_T),
  };
}

/** All steps from the checkpoint: what each said, and the weights that came out. */
async function train(training: Training, name: string) {
  const config = configOf(training);
  const model = openGolden(name);
  const optimizer = createOptimizer(model.weights, optimizerSettings(config));
  const learningRate = config.train.learning_rate;
  const common = { model, optimizer, watch: createWatch(), config, expertOfLanguage: EXPERTS, learningRate };
  const steps: StepResult[] = [];
  for (const [i, batch] of training.batches.entries()) {
    const stream = { next: () => batchOf(batch), state: () => ({}) };
    steps.push(await trainStep({ ...common, stream, step: i + 1 }));
  }
  const weights = await hostTensors(model);
  optimizer.dispose();
  disposeModel(model);
  return { steps, weights };
}

/** Trains as PyTorch did and expects its losses, gradient norms, and norms of the weights afterwards. */
export async function expectParity(name: string): Promise<void> {
  const training = trainingOf(name);
  const { steps, weights } = await train(training, name);
  expect(steps).toHaveLength(20);
  expect(steps.map(({ stop }) => stop)).toEqual(steps.map(() => null));
  const lossApart = steps.map(({ loss }, i) => Math.abs(loss - training.steps[i].loss));
  const normApart = steps.map(({ gradientNorm }, i) => Math.abs(gradientNorm / training.steps[i].gradient_norm - 1));
  expect(Math.max(...lossApart), `losses differ by ${lossApart}`).toBeLessThan(1e-4);
  expect(Math.max(...normApart), `gradient norms differ by ${normApart}`).toBeLessThan(1e-5);
  expectNorms(weights, training.norms_after);
}

/** In pairs of dimensions that rotary positions hardly turn, a bias of keys adds nearly the same to all scores of a query. Its
 *  gradient is little more than rounding, which AdamW scales up to whole steps: those weights are nobody's to reproduce. */
const UNDECIDED = /\.k_proj\.bias$/;

function expectNorms(weights: Map<string, HostTensor>, norms: Record<string, number>): void {
  expect([...weights.keys()].sort()).toEqual(Object.keys(norms).sort());
  for (const [name, norm] of Object.entries(norms)) {
    if (UNDECIDED.test(name)) continue;
    const ours = Math.sqrt(weights.get(name)!.values.reduce((sum, value) => sum + value * value, 0));
    expect(Math.abs(ours / norm - 1), name).toBeLessThan(1e-6);
  }
}

/** Loss, gradients and routing of the golden batch, by our model. */
async function forcedBatch(batch: GoldenBatch) {
  const model = openGolden('apollo');
  const recorder = recordRoutings();
  const onRouting: typeof recorder.observe = (layer, routing) => recorder.observe(layer, routing);
  const found = await gradientsOf(model, batchOf(batch), { mode: 'forced', onRouting }, EXPERTS);
  const routings = await recorder.read();
  disposeModel(model);
  return { ...found, routings };
}

/** Loss, every gradient and every choice of one batch under hybrid-k as PyTorch has them. */
export async function expectForcedBatch(): Promise<void> {
  const batch: GoldenBatch & { loss: number } = json('apollo', 'golden.json').hybrid;
  const { tensors } = readSafetensors(at('apollo', 'hybrid.safetensors'));
  const golden = (name: string): Float32Array => readFloat32(tensors.get(name)!);
  const { loss, gradients, routings } = await forcedBatch(batch);
  expect(Math.abs(loss - batch.loss)).toBeLessThan(1e-5);
  expect(routings.map(({ layer }) => layer)).toEqual([2, 3]);
  const real = batch.mask.flat();
  for (const { layer, expertId_TK, gate_TK, k } of routings) {
    const isReal = (slot: number): boolean => real[Math.floor(slot / k)] === 1;
    const chosen = expertId_TK.map((id, slot) => (isReal(slot) ? id : -1));
    expect(chosen, `experts of layer ${layer}`).toEqual(readInt32(tensors.get(`forced_experts.layer${layer}`)!));
    const gates = gate_TK.map((gate, slot) => (isReal(slot) ? gate : 0));
    expect(difference(gates, golden(`forced_gates.layer${layer}`))).toBeLessThan(1e-5);
  }
  const wanted = [...tensors.keys()].filter(name => name.startsWith('gradient.'));
  expect([...gradients.keys()].map(name => `gradient.${name}`).sort()).toEqual(wanted.sort());
  for (const [name, gradient] of gradients)
    expect(relativeDifference(gradient, golden(`gradient.${name}`)), name).toBeLessThan(1e-5);
}
