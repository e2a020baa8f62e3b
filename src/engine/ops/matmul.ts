// Matrix product. C = op(A) op(B); dop(A) = dC op(B)ᵀ, dop(B) = op(A)ᵀ dC.
// Kernel MoeProduct, else tfjs's own product.
import '../host/product.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { matmulReference } from '../reference/matmul.ts';
import type { Tensor2D } from '../tf.ts';

/** a b, with either operand transposed on request. Shapes after transposing: [m, k] [k, n] -> [m, n]. */
export function matmul(a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D {
  if (!hasKernel('MoeProduct')) return matmulReference(a, b, transposeA, transposeB);
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

/** The product without a gradient, for operations that have their own. */
function product(a: Tensor2D, b: Tensor2D, transposeA: boolean, transposeB: boolean): Tensor2D {
  const [rows, inner] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
  const [innerB, columns] = transposeB ? [b.shape[1], b.shape[0]] : b.shape;
  if (inner !== innerB)
    throw new Error(
      `matmul: inner sizes ${inner} and ${innerB} of [${rows}, ${inner}] and ` + `[${innerB}, ${columns}] differ`,
    );
  return runKernel('MoeProduct', { a, b }, { transposeA, transposeB })[0] as Tensor2D;
}
