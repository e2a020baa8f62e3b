// Embedding rows.
import { embeddingReference } from '../reference/embedding.ts';
import type { Tensor2D } from '../tf.ts';

export function embedding(w_VD: Tensor2D, id_T: Int32Array): Tensor2D {
  return embeddingReference(w_VD, id_T);
}
