// One-hot rows [M, depth] from host integers, as fp32. An index outside 0..depth−1 (−1, −100) gives a zero row.
// tf.oneHot refuses a depth of 1, which one expert or one row needs.
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

export function oneHot(index_M: Int32Array, depth: number): Tensor2D {
  const hot = new Float32Array(index_M.length * depth);
  index_M.forEach((index, m) => {
    if (index >= 0 && index < depth) hot[m * depth + index] = 1;
  });
  return tf.tensor2d(hot, [index_M.length, depth]);
}
