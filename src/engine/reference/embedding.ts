// Plain-tfjs embedding: row id_T[t] of w_VD, as a one-hot product so that its gradient needs no scatter.
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';
import { oneHot } from './one-hot.ts';

export function embeddingReference(w_VD: Tensor2D, id_T: Int32Array): Tensor2D {
  return tf.matMul(oneHot(id_T, w_VD.shape[0]), w_VD);
}
