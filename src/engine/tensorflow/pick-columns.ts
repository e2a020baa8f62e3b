// Picked columns for TensorFlow: a gather per row, and for the gradient a sum in order of j over the columns that index[t, j]
// names. Kernels as in fast/pick-columns.ts.

import type { PickAttributes } from '../fast/pick-columns.ts';
import { tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';
import { sumNeighbours } from './rows.ts';

registerTensorflow<PickAttributes>('MoePickColumns', ({ x }, { index_TK }) => {
  const rows = x.shape[0];
  const picks = rows === 0 ? 0 : index_TK.length / rows;
  const column_TK = index_TK.map(column => Math.max(column, 0));
  const y_TK = tf.gather(x, tf.tensor2d(column_TK, [rows, picks], 'int32'), 1, 1);
  if (!index_TK.includes(-1)) return [y_TK];
  const picked_TK = tf.tensor2d(
    Uint8Array.from(index_TK, column => Number(column >= 0)),
    [rows, picks],
    'bool',
  );
  return [tf.where(picked_TK, y_TK, tf.zerosLike(y_TK))];
});

registerTensorflow<PickAttributes & { width: number }>('MoePickColumnsGrad', ({ gradient }, { index_TK, width }) => {
  const [rows, picks] = gradient.shape;
  if (rows * picks === 0) return [tf.zeros([rows, width])];
  const index_N1 = tf.tensor2d(index_TK, [rows * picks, 1], 'int32');
  const mine_NE = tf.equal(index_N1, tf.range(0, width, 1, 'int32')); // −1 is no column
  const spread_NE = tf.where(mine_NE, tf.reshape(gradient, [rows * picks, 1]), tf.scalar(0));
  return [sumNeighbours(spread_NE, picks)];
});
