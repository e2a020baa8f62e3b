// Plain-tfjs row gather and weighted combine, as one-hot products: differentiable everywhere without a scatter.
// gather: y[j] = x[index[j]]. combine: out[t] = Σ_j gate[t, j] · y[inverse[t, j]]. An index of −1 reads a zero row.
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';
import { oneHot } from './one-hot.ts';

export function gatherRowsReference(x_ND: Tensor2D, index_M: Int32Array): Tensor2D {
  return tf.matMul(oneHot(index_M, x_ND.shape[0]), x_ND);
}

export function combineReference(y_ND: Tensor2D, inverse_TK: Int32Array, gate_TK: Tensor2D): Tensor2D {
  const [tokens, k] = gate_TK.shape;
  const picked_TKD = tf.reshape(gatherRowsReference(y_ND, inverse_TK), [tokens, k, y_ND.shape[1]]);
  return tf.sum(tf.mul(picked_TKD, tf.expandDims(gate_TK, 2)), 1);
}
