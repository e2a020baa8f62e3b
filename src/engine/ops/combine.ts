// Weighted sum of expert rows: out[t] = Σ_j gate[t, j] · y[inverse[t, j]], in slot order.
// dy[inverse[t, j]] = gate[t, j] · dout[t]; dgate[t, j] = dout[t] · y[inverse[t, j]].
import '../fast/gather-rows.ts';
import { countOf, forKernels, hostIntegers, type Integers } from '../integers.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { combineReference } from '../reference/gather-rows.ts';
import { checkIndex, checkShape } from '../shape.ts';
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** [T, D] from y_ND and gate_TK. `inverse_TK` gives the row of y for each slot; −1 adds nothing and gets gradient 0.
 *  `slot_N`, the slot of each row or −1, saves a GPU from finding it for the gradient. */
export function combine(y_ND: Tensor2D, inverse_TK: Integers, gate_TK: Tensor2D, slot_N?: Integers): Tensor2D {
  checkShape('combine: inverse', [countOf(inverse_TK)], [gate_TK.size]);
  checkIndex('combine: inverse', inverse_TK, y_ND.shape[0], -1);
  if (!hasKernel('MoeCombine')) return tf.tidy(() => combineReference(y_ND, hostIntegers(inverse_TK), gate_TK));
  const integers = [inverse_TK, ...(slot_N ? [slot_N] : [])].map(forKernels);
  return withGradient(
    [y_ND, gate_TK],
    () => ({
      value: runKernel('MoeCombine', { y: y_ND, gate: gate_TK }, { inverse_TK: integers[0] })[0] as Tensor2D,
      saved: [y_ND, gate_TK],
    }),
    (gradient, [y, gate], [inverse, slot]) =>
      runKernel('MoeCombineGrad', { y, gate, gradient }, { inverse_TK: inverse, slot_N: slot }),
    integers,
  );
}
