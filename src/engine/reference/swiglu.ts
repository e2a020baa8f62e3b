// Plain-tfjs SwiGLU gate (Shazeer 2020): silu(gate) ⊙ up, with silu(z) = z / (1 + e^−z).
import type { Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

export const swigluReference = (gate_TF: Tensor2D, up_TF: Tensor2D): Tensor2D =>
  tf.mul(tf.mul(gate_TF, tf.sigmoid(gate_TF)), up_TF);
