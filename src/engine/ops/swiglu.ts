// SwiGLU gate (Shazeer 2020): silu(gate) ⊙ up, with silu(z) = z / (1 + e^−z).
import '../fast/swiglu.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { swigluReference } from '../reference/swiglu.ts';
import { checkShape } from '../shape.ts';
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** silu(gate_TF) ⊙ up_TF. */
export function swiglu(gate_TF: Tensor2D, up_TF: Tensor2D): Tensor2D {
  checkShape('swiglu: up', up_TF.shape, gate_TF.shape);
  if (!hasKernel('MoeSwiglu')) return tf.tidy(() => swigluReference(gate_TF, up_TF));
  return withGradient(
    [gate_TF, up_TF],
    () => ({ value: runKernel('MoeSwiglu', { gate: gate_TF, up: up_TF })[0] as Tensor2D, saved: [gate_TF, up_TF] }),
    (gradient, [gate, up]) => runKernel('MoeSwigluGrad', { gate, up, gradient }),
  );
}
