// How alike languages are where the network of each layer reads them (LayerMoE, arXiv 2505.22582): S_l = mean over pairs of
// languages of the mean cosine over all Q × Q pairs of their tokens. That mean is the product of the two mean unit vectors,
// ū_a · ū_b, so Q vectors are added up and no matrix of pairs is made. Hidden states share a large common direction, which hides
// the rest: S is given as published and after the mean of all tokens (languages alike) is taken off, where it may fall below 0.
// Shapes: T tokens of a batch, D width.
import { batchesOf } from '../data/pack.ts';
import type { Batch, Language, TokenDocument } from '../data/types.ts';
import { tf } from '../engine/tf.ts';
import { tokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import type { Model } from '../model/weights.ts';
import type { PassShape } from './usage.ts';

/** Added up over the tokens of one language in one layer. */
export interface VectorSum {
  sum_D: Float64Array;
  tokens: number;
}

/** Adds x − centre, divided by its length if `unit`; a vector of zeros adds nothing and counts. */
export function addVector(into: VectorSum, x_D: ArrayLike<number>, centre_D: Float64Array | null, unit: boolean): void {
  const D = into.sum_D.length;
  const value = (i: number): number => x_D[i] - (centre_D?.[i] ?? 0);
  let length = 1;
  if (unit) {
    let squares = 0;
    for (let i = 0; i < D; i++) squares += value(i) ** 2;
    length = Math.sqrt(squares);
  }
  into.tokens++;
  if (length > 0) for (let i = 0; i < D; i++) into.sum_D[i] += value(i) / length;
}

/** Mean cosine over all pairs of a token of one and a token of the other. NaN without tokens. */
export const meanPairCosine = (a: VectorSum, b: VectorSum): number =>
  a.sum_D.reduce((sum, value, i) => sum + value * b.sum_D[i], 0) / (a.tokens * b.tokens);

export interface LayerSimilarity {
  /** Mean over pairs of languages, as published. */
  plain: number;
  /** After the common mean is taken off. */
  centred: number;
}

/** One per layer, dense or sparse. Two passes; not for webgpu, which cannot wait. */
export async function layerSimilarity(
  model: Model,
  documents: TokenDocument[],
  languages: Language[],
  shape: PassShape,
): Promise<LayerSimilarity[]> {
  const layers = model.spec.num_hidden_layers;
  const sums = (): VectorSum[][] =>
    Array.from({ length: layers }, () =>
      languages.map(() => ({ sum_D: new Float64Array(model.spec.hidden_size), tokens: 0 })),
    );
  const [means, plain, centred] = [sums(), sums(), sums()];
  await eachInput(model, documents, shape, (layer, language, x_D) => {
    addVector(means[layer][language], x_D, null, false);
    addVector(plain[layer][language], x_D, null, true);
  });
  const centre = means.map(meanOfLanguages);
  await eachInput(model, documents, shape, (layer, language, x_D) =>
    addVector(centred[layer][language], x_D, centre[layer], true),
  );
  return plain.map((_, layer) => ({ plain: meanOfPairs(plain[layer]), centred: meanOfPairs(centred[layer]) }));
}

type Visit = (layer: number, language: number, x_D: Float32Array) => void;

async function eachInput(model: Model, documents: TokenDocument[], shape: PassShape, visit: Visit): Promise<void> {
  for (const batch of batchesOf(documents, { ...shape, packing: 'isolated' })) {
    tf.tidy(() => {
      forward(model, tokenInput(batch, null), {
        mode: 'free',
        onFfnInput: (layer, x_TD) => visitCounted(batch, shape.padId, x_TD.dataSync<'float32'>(), layer, visit),
      });
    });
    await new Promise(setImmediate);
  }
}

function visitCounted(batch: Batch, padId: number, x_TD: Float32Array, layer: number, visit: Visit): void {
  const D = x_TD.length / batch.language_BS.length;
  batch.language_BS.forEach((language, t) => {
    if (language >= 0 && batch.inputId_BS[t] !== padId) visit(layer, language, x_TD.subarray(t * D, (t + 1) * D));
  });
}

function meanOfLanguages(sums: readonly VectorSum[]): Float64Array {
  const spoken = sums.filter(({ tokens }) => tokens > 0);
  return spoken[0].sum_D.map((_, i) => spoken.reduce((sum, row) => sum + row.sum_D[i] / row.tokens, 0) / spoken.length);
}

function meanOfPairs(sums: readonly VectorSum[]): number {
  const spoken = sums.filter(({ tokens }) => tokens > 0);
  const cosines = spoken.flatMap((a, i) => spoken.slice(i + 1).map(b => meanPairCosine(a, b)));
  return cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length;
}
