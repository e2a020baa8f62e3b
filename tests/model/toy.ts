// Tiny random models, token inputs and readers of tensors for the tests of src/model, src/eval and src/train/grow.ts.
import seedrandom from 'seedrandom';
import { type FamilyMap, resolveMap } from '../../src/config/families.ts';
import { type Config, configSchema } from '../../src/config/schema.ts';
import { batchesOf, type Packing } from '../../src/data/pack.ts';
import type { Batch, TokenDocument } from '../../src/data/types.ts';
import { type Tensor, tf } from '../../src/engine/tf.ts';
import type { ForwardOptions } from '../../src/model/forward-options.ts';
import { lossAndGradients } from '../../src/model/loss.ts';
import { type ModelSpec, modelSpec } from '../../src/model/spec.ts';
import { type TokenInput, tokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import { createModel, type HostTensor, initialWeights, type Model } from '../../src/model/weights.ts';
import { createRng } from '../../src/train/rng.ts';

export const VOCABULARY = 40;
export const EOS = VOCABULARY - 1;

type Settings = { [Section in 'model' | 'router' | 'train' | 'upcycle' | 'data']?: Partial<Config[Section]> };

/** Width 16, 4 query heads of 4 and 2 key heads; a dense layer, then two mixtures of 4 experts. The rest are defaults. */
const SMALL = {
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
};
const FAMILIES = {
  name: 'toy',
  families: ['a', 'b', 'c', 'd'].map((letter, expert) => ({
    name: `family ${letter}`,
    expert,
    languages: [{ code: `x${letter}`, name: letter.toUpperCase(), script: 'Latn' }],
  })),
};

/** Four languages, each its own family and expert. */
export const toyMap: FamilyMap = resolveMap(FAMILIES, 'all', () => 'toy');
export const toyExperts: Int32Array = Int32Array.from(toyMap.languages, language => language.expert);

export function toyConfig({ model, ...rest }: Settings = {}): Config {
  const config = configSchema.parse({ families: FAMILIES, ...rest, model: { ...SMALL, ...model } });
  return { ...config, families: FAMILIES };
}

export function toySpec(settings: Settings = {}, dense = false): ModelSpec {
  const config = toyConfig(settings);
  return modelSpec(config.model, config.router, toyMap, VOCABULARY, dense);
}

/** Weights large enough that attention is uneven and routers are decided: matrices N(0, 1/width), biases not 0. */
export function toyWeights(spec: ModelSpec, seed = 'toy'): Map<string, HostTensor> {
  const normal = createRng(seed).gaussian;
  const weights = initialWeights(spec, normal);
  for (const [name, { shape, values }] of weights) {
    const scale = name.endsWith('norm.weight') ? 0.2 : name.endsWith('bias') ? 0.3 : 1 / Math.sqrt(shape[1]);
    const centre = name.endsWith('norm.weight') ? 1 : 0;
    for (let i = 0; i < values.length; i++) values[i] = centre + scale * normal();
  }
  return weights;
}

export function toyModel(settings: Settings = {}, seed?: string): Model {
  const spec = toySpec(settings);
  return createModel(spec, toyWeights(spec, seed));
}

/** Documents of random ids ending with EOS, one per length, in the languages 0, 1, 2, … in turn. */
export function toyDocuments(lengths: number[], seed = 'documents'): TokenDocument[] {
  const random = seedrandom(seed);
  return lengths.map((length, index) => ({
    id: `toy/${index}`,
    item: `toy/${index}`,
    language: index % toyMap.languages.length,
    index,
    domain: 'general',
    source: 'toy',
    ids: Int32Array.from({ length }, (_, i) => (i === length - 1 ? EOS : Math.floor(random() * EOS))),
  }));
}

/** All documents in batches. */
export const toyBatches = (
  documents: TokenDocument[],
  batch: number,
  sequence: number,
  packing: Packing = 'isolated',
): Batch[] => [...batchesOf(documents, { batch, sequence, padId: EOS, packing })];

/** One sequence of given ids, its positions from `start`. */
export function sequenceInput(ids: ArrayLike<number>, start = 0, languageExpert: number | null = null): TokenInput {
  const { length } = ids;
  return {
    batch: 1,
    sequence: length,
    id_T: Int32Array.from(ids),
    position_T: Int32Array.from({ length }, (_, i) => start + i),
    segment_T: new Int32Array(length),
    languageExpert_T: languageExpert === null ? null : new Int32Array(length).fill(languageExpert),
    counted_T: new Uint8Array(length).fill(1),
  };
}

/** [T][V] on the host. */
export function logitsOf(model: Model, tokens: TokenInput, options: ForwardOptions): number[][] {
  return tidied(() => {
    const { logits_TV } = forward(model, tokens, options);
    return logits_TV.arraySync() as number[][];
  });
}

export interface HostGradients {
  loss: number;
  /** 0 for a model without auxiliary losses. */
  auxiliary: number;
  learnedTokens: number;
  gradients: Map<string, Float32Array>;
}

/** Loss and gradients of one batch, on the host. */
export async function gradientsOf(
  model: Model,
  batch: Batch,
  options: ForwardOptions,
  experts: Int32Array | null = toyExperts,
): Promise<HostGradients> {
  const queued = lossAndGradients(model, tokenInput(batch, experts), batch.label_BS, options);
  const read = async (tensor: Tensor): Promise<Float32Array> => {
    const values = (await tensor.data<'float32'>()).slice();
    tensor.dispose();
    return values;
  };
  const [loss] = await read(queued.loss);
  const [auxiliary] = queued.auxiliary ? await read(queued.auxiliary) : [0];
  const gradients = new Map<string, Float32Array>();
  for (const [name, gradient] of queued.gradients) gradients.set(name, await read(gradient));
  return { loss, auxiliary, learnedTokens: queued.learnedTokens, gradients };
}

/** All that an async generator yields. */
export async function collected<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

/** tf.tidy for functions that answer host data, whose type tfjs does not allow. */
export const tidied = <T>(make: () => T): T => tf.tidy(make as never) as T;

export const valuesOf = (tensor: Tensor): Float32Array => tensor.dataSync<'float32'>().slice();

/** Largest |a − b|; infinite where the lengths differ or a number is missing. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const apart = Math.abs(a[i] - b[i]);
    if (Number.isNaN(apart)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, apart);
  }
  return worst;
}

/** Largest |a − b| relative to the largest |b|; 0 for two arrays of zeros. */
export function relativeDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const apart = difference(a, b);
  return apart === 0 ? 0 : apart / Array.from(b).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
