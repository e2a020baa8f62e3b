// RMSNorm (Zhang and Sennrich 2019, eq. 4): y = w ⊙ x / √(mean(x²) + ε), row by row.
import '../fast/rms-norm.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { rmsNormReference } from '../reference/rms-norm.ts';
import { checkShape } from '../shape.ts';
import type { Tensor1D, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** Rows of x_TD scaled to a root mean square of 1, times weight_D. */
export function rmsNorm(x_TD: Tensor2D, weight_D: Tensor1D, epsilon: number): Tensor2D {
  checkShape('rmsNorm: weight', weight_D.shape, [x_TD.shape[1]]);
  if (!hasKernel('MoeRmsNorm')) return tf.tidy(() => rmsNormReference(x_TD, weight_D, epsilon));
  return withGradient(
    [x_TD, weight_D],
    () => ({
      value: runKernel('MoeRmsNorm', { x: x_TD, weight: weight_D }, { epsilon })[0] as Tensor2D,
      saved: [x_TD, weight_D],
    }),
    (gradient, [x, weight]) => runKernel('MoeRmsNormGrad', { x, weight, gradient }, { epsilon }),
  );
}
