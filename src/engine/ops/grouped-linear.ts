// Linear map with one weight per expert segment of rows: y[n] = x[n] w[e]ᵀ for offsets[e] ≤ n < offsets[e+1].
import '../fast/grouped-linear.ts';
import { forKernels, hostIntegers, type Integers } from '../integers.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { groupedLinearReference } from '../reference/grouped-linear.ts';
import { checkOffsets, checkShape } from '../shape.ts';
import type { Tensor, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** x_ND through E weights [F, D] -> [N, F]. `offsets_E1` rises from 0 to N. An empty segment's gradient is zero. */
export function groupedLinear(x_ND: Tensor2D, w_EFD: Tensor2D[], offsets_E1: Integers): Tensor2D {
  checkOffsets('groupedLinear', offsets_E1, w_EFD.length, x_ND.shape[0]);
  for (const w_FD of w_EFD) checkShape('groupedLinear: weight', w_FD.shape, [w_EFD[0].shape[0], x_ND.shape[1]]);
  if (!hasKernel('MoeGroupedLinear'))
    return tf.tidy(() => groupedLinearReference(x_ND, w_EFD, hostIntegers(offsets_E1)));
  const named = (x: Tensor, w: Tensor[]): Record<string, Tensor> => ({
    x,
    ...Object.fromEntries(w.map((weight, e) => [`w${e}`, weight])),
  });
  const integers = [forKernels(offsets_E1)];
  return withGradient(
    [x_ND, ...w_EFD],
    () => ({
      value: runKernel('MoeGroupedLinear', named(x_ND, w_EFD), { offsets_E1: integers[0] })[0] as Tensor2D,
      saved: [x_ND, ...w_EFD],
    }),
    (gradient, [x, ...w], [offsets]) =>
      runKernel('MoeGroupedLinearGrad', { ...named(x, w), gradient }, { offsets_E1: offsets }),
    integers,
  );
}
