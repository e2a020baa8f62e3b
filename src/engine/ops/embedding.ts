// Embedding rows: y[t] = w[id[t]]; dw[v] = Σ dy[t] over the t with id[t] = v, summed in token order.
import '../fast/embedding.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { embeddingReference } from '../reference/embedding.ts';
import { checkIndex } from '../shape.ts';
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** Rows id_T of w_VD, [T, D]. @throws RangeError when an id is outside the vocabulary. */
export function embedding(w_VD: Tensor2D, id_T: Int32Array): Tensor2D {
  const vocabulary = w_VD.shape[0];
  checkIndex('embedding: id', id_T, vocabulary);
  if (!hasKernel('MoeEmbedding')) return tf.tidy(() => embeddingReference(w_VD, id_T));
  const attributes = { id_T, vocabulary };
  return withGradient(
    [w_VD],
    () => ({ value: runKernel('MoeEmbedding', { weight: w_VD }, attributes)[0] as Tensor2D, saved: [] }),
    gradient => runKernel('MoeEmbeddingGrad', { gradient }, attributes),
  );
}
