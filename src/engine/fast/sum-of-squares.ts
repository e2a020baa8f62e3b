// Sums of squares on the C kernels, in double precision. Kernel MoeSumsOfSquares: { x0 … xn−1 } -> [n], one of each.

import { registerFast } from '../memory.ts';
import { tf } from '../tf.ts';

registerFast('MoeSumsOfSquares', (memory, inputs) => {
  const tensors = Object.keys(inputs).map((_, i) => inputs[`x${i}`]);
  const sums = memory.allocate([tensors.length]);
  const out = memory.view(sums);
  tensors.forEach((x, i) => {
    memory.call('sum_of_squares', memory.view(x), out.subarray(i, i + 1), tf.util.sizeFromShape(x.shape));
  });
  return [sums];
});
