// Linear map in Hugging Face weight layout. y_TF = x_TD w_FDᵀ + bias_F; dx = dy w, dw = dyᵀ x, dbias = Σ_t dy.
// Kernels MoeProduct and MoeColumnSum, else plain tfjs.
import '../fast/product.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { linearReference } from '../reference/matmul.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';
import { checkProduct, matmul, product } from './matmul.ts';

/** x Wᵀ + b. Without a bias it is a matrix product. */
export function linear(x_TD: Tensor2D, w_FD: Tensor2D, bias_F?: Tensor1D): Tensor2D {
  if (!bias_F) return matmul(x_TD, w_FD, false, true);
  checkProduct(x_TD, w_FD, false, true, bias_F);
  if (!hasKernel('MoeProduct')) return tf.tidy(() => linearReference(x_TD, w_FD, bias_F));
  return withGradient(
    [x_TD, w_FD, bias_F],
    () => ({ value: product(x_TD, w_FD, false, true, bias_F), saved: [x_TD, w_FD] }),
    (dy_TF, [x, w]) => [
      product(dy_TF, w as Tensor2D, false, false),
      product(dy_TF, x as Tensor2D, true, false),
      runKernel('MoeColumnSum', { x: dy_TF })[0],
    ],
  );
}
