// Weighted sum of expert rows: out[t] = Σ_j gate[t, j] · y[inverse[t, j]], in slot order.
// dy[inverse[t, j]] = gate[t, j] · dout[t]; dgate[t, j] = dout[t] · y[inverse[t, j]].
import '../fast/gather-rows.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { combineReference } from '../reference/gather-rows.ts';
import { checkIndex, checkShape } from '../shape.ts';
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** [T, D] from y_ND and gate_TK. `inverse_TK` gives the row of y for each slot; −1 adds nothing and gets gradient 0. */
export function combine(y_ND: Tensor2D, inverse_TK: Int32Array, gate_TK: Tensor2D): Tensor2D {
  checkShape('combine: inverse', [inverse_TK.length], [gate_TK.size]);
  checkIndex('combine: inverse', inverse_TK, y_ND.shape[0], -1);
  if (!hasKernel('MoeCombine')) return tf.tidy(() => combineReference(y_ND, inverse_TK, gate_TK));
  return withGradient(
    [y_ND, gate_TK],
    () => ({
      value: runKernel('MoeCombine', { y: y_ND, gate: gate_TK }, { inverse_TK })[0] as Tensor2D,
      saved: [y_ND, gate_TK],
    }),
    (gradient, [y, gate]) => runKernel('MoeCombineGrad', { y, gate, gradient }, { inverse_TK }),
  );
}
