// Plain-tfjs grouped linear map: row n in segment e becomes x[n] w[e]ᵀ. Every row through every expert, then masked.
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

export function groupedLinearReference(x_ND: Tensor2D, w_EFD: Tensor2D[], offsets_E1: Int32Array): Tensor2D {
  const masked = w_EFD.map((w_FD, e) => {
    const mine = Float32Array.from({ length: x_ND.shape[0] }, (_, n) =>
      Number(n >= offsets_E1[e] && n < offsets_E1[e + 1]),
    );
    return tf.mul(tf.matMul(x_ND, w_FD, false, true), tf.tensor2d(mine, [x_ND.shape[0], 1])) as Tensor2D;
  });
  return tf.addN(masked);
}
