// What the forms for TensorFlow are made of: rows picked by host integers, and sums of a few rows in a fixed order.

import type { Tensor, Tensor2D, Tensor3D } from '../tf.ts';
import { tf } from '../tf.ts';

/** [M, D], rows of x [N, D] by index; −1 gives a row of zeros. */
export function takeRows(x: Tensor, index_M: Int32Array): Tensor2D {
  if (!index_M.includes(-1)) return tf.gather(x as Tensor2D, tf.tensor1d(index_M, 'int32'));
  const [rows, width] = x.shape;
  const place_M = index_M.map(index => (index < 0 ? rows : index));
  return tf.gather(tf.concat([x as Tensor2D, tf.zeros([1, width])]), tf.tensor1d(place_M, 'int32'));
}

/** [M, D] from x [M · width, D]: each row is the sum of `width` in turn, from first to last. */
export function sumNeighbours(x: Tensor, width: number): Tensor2D {
  if (width === 1) return x as Tensor2D;
  const columns = tf.unstack(asGroups(x, width), 1) as Tensor2D[];
  return columns.reduce((sum, column) => tf.add(sum, column));
}

/** [M, width, D] from x [M · width, D]. */
export function asGroups(x: Tensor, width: number): Tensor3D {
  const [rows, d] = x.shape;
  return tf.reshape(x, [rows / width, width, d]);
}
