// Row movement for TensorFlow: every pass is a gather. Kernels as in fast/gather-rows.ts.
// dy[inverse[t, j]] = gate[t, j] dout[t] is read the other way round: row n of dy comes from slot_N[n].

import type { GatherSumAttributes } from '../fast/gather-rows.ts';
import { tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';
import { asGroups, sumNeighbours, takeRows } from './rows.ts';

interface CombineAttributes {
  inverse_TK: Int32Array;
  /** The slot of each row of y, or −1; found from `inverse_TK` when left out. */
  slot_N?: Int32Array;
}

registerTensorflow<GatherSumAttributes>('MoeGatherSum', ({ x }, { index_MR, width }) => [
  sumNeighbours(takeRows(x, index_MR), width),
]);

registerTensorflow<CombineAttributes>('MoeCombine', ({ y, gate }, { inverse_TK }) => {
  const [tokens, k] = gate.shape;
  const [, d] = y.shape;
  const weighted_TKD = tf.mul(asGroups(takeRows(y, inverse_TK), k), tf.expandDims(gate, 2));
  return [sumNeighbours(tf.reshape(weighted_TKD, [tokens * k, d]), k)];
});

registerTensorflow<CombineAttributes>('MoeCombineGrad', ({ y, gate, gradient }, { inverse_TK, slot_N }) => {
  const [tokens, k] = gate.shape;
  const [rows, d] = y.shape;
  const gradient_T1D = tf.expandDims(gradient, 1);
  const dgate_TK = tf.sum(tf.mul(asGroups(takeRows(y, inverse_TK), k), gradient_T1D), 2);
  const weighted_TKD = tf.mul(tf.expandDims(gate, 2), gradient_T1D);
  const dy_ND = takeRows(tf.reshape(weighted_TKD, [tokens * k, d]), slot_N ?? slotsOf(inverse_TK, rows));
  return [dy_ND, dgate_TK];
});

function slotsOf(inverse_TK: Int32Array, rows: number): Int32Array {
  const slot_N = new Int32Array(rows).fill(-1);
  inverse_TK.forEach((row, slot) => {
    if (row >= 0) slot_N[row] = slot;
  });
  return slot_N;
}
