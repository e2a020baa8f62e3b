// Mean of the router's full softmax per document × layer × expert over the counted tokens, summed while batches pass: the
// probabilities themselves are never kept.
// Shapes: D documents, L MoE layers, E experts.
import type { DocumentSoftmax } from '../../routing/trace.ts';
import type { Slots } from './slots.ts';

export interface SoftmaxSums {
  /** [D · L · E] */
  sum: Float32Array;
  /** [D · L] counted tokens whose probabilities were added. */
  tokens: Int32Array;
}

export const softmaxSums = ({ language, layers, experts }: Slots): SoftmaxSums => ({
  sum: new Float32Array(language.length * layers.length * experts),
  tokens: new Int32Array(language.length * layers.length),
});

/** Adds the probabilities of one counted token. @param p_E by the layer's own experts @param named their ids, where not all are left */
export function addProbabilities(
  { sum, tokens }: SoftmaxSums,
  { layers, experts }: Slots,
  document: number,
  l: number,
  p_E: Float32Array,
  named: readonly number[] | null = null,
): void {
  const row = document * layers.length + l;
  tokens[row]++;
  for (let e = 0; e < p_E.length; e++) sum[row * experts + (named?.[e] ?? e)] += p_E[e];
}

/** Means of the documents [first, end); a document without a counted token has none. */
export function softmaxMeans(
  { sum, tokens }: SoftmaxSums,
  { layers, experts }: Slots,
  first: number,
  end: number,
): DocumentSoftmax[] {
  const rows: DocumentSoftmax[] = [];
  for (let document = first; document < end; document++) {
    layers.forEach((layer, l) => {
      const row = document * layers.length + l;
      if (tokens[row] === 0) return;
      for (let expert = 0; expert < experts; expert++)
        rows.push({ document, layer, expert, probability: sum[row * experts + expert] / tokens[row] });
    });
  }
  return rows;
}
