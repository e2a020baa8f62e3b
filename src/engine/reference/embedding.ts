// Plain-tfjs embedding: row id_T[t] of w_VD, as a one-hot product so that its gradient needs no scatter.
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

export function embeddingReference(w_VD: Tensor2D, id_T: Int32Array): Tensor2D {
  const oneHot_TV = tf.cast(tf.oneHot(tf.tensor1d(id_T, 'int32'), w_VD.shape[0]), 'float32') as Tensor2D;
  return tf.matMul(oneHot_TV, w_VD);
}
