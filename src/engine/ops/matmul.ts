// Matrix product. C = op(A) op(B); dop(A) = dC op(B)ᵀ, dop(B) = op(A)ᵀ dC.
// Kernel MoeProduct, else tfjs's own product.
import '../fast/product.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { matmulReference } from '../reference/matmul.ts';
import { checkShape } from '../shape.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** a b, with either operand transposed on request. Shapes after transposing: [m, k] [k, n] -> [m, n]. */
export function matmul(a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D {
  checkProduct(a, b, transposeA, transposeB);
  if (!hasKernel('MoeProduct')) return tf.tidy(() => matmulReference(a, b, transposeA, transposeB));
  return withGradient(
    [a, b],
    () => ({ value: product(a, b, transposeA, transposeB), saved: [a, b] }),
    (dc, [keptA, keptB]) => {
      const [a2, b2] = [keptA as Tensor2D, keptB as Tensor2D];
      return [
        transposeA ? product(b2, dc, transposeB, true) : product(dc, b2, false, !transposeB),
        transposeB ? product(dc, a2, true, transposeA) : product(a2, dc, !transposeA, false),
      ];
    },
  );
}

/** op(a) op(b) + bias without a gradient, for operations that have their own and have checked the shapes. */
export function product(a: Tensor2D, b: Tensor2D, transposeA: boolean, transposeB: boolean, bias?: Tensor1D): Tensor2D {
  return runKernel('MoeProduct', bias ? { a, b, bias } : { a, b }, { transposeA, transposeB })[0] as Tensor2D;
}

/** @throws Error when op(a) and op(b) do not multiply, or the bias has not one number per column. */
export function checkProduct(
  a: Tensor2D,
  b: Tensor2D,
  transposeA: boolean,
  transposeB: boolean,
  bias?: Tensor1D,
): void {
  const inner = a.shape[transposeA ? 0 : 1];
  const columns = b.shape[transposeB ? 0 : 1];
  checkShape('right side of a product', b.shape, transposeB ? [columns, inner] : [inner, columns]);
  if (bias) checkShape('bias', bias.shape, [columns]);
}
