// SwiGLU gate.
import { swigluReference } from '../reference/swiglu.ts';
import type { Tensor2D } from '../tf.ts';

export function swiglu(gate_TF: Tensor2D, up_TF: Tensor2D): Tensor2D {
  return swigluReference(gate_TF, up_TF);
}
