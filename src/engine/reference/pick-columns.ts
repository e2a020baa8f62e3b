// Plain-tfjs picked columns, as a sum over one-hot rows: y[t, j] = Σ_e onehot(index[t, j])[e] · x[t, e].
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';
import { oneHot } from './one-hot.ts';

export function pickColumnsReference(x_TE: Tensor2D, index_TK: Int32Array, picks: number): Tensor2D {
  const [rows, width] = x_TE.shape;
  const mask_TKE = tf.reshape(oneHot(index_TK, width), [rows, picks, width]);
  return tf.sum(tf.mul(tf.expandDims(x_TE, 1), mask_TKE), 2);
}
