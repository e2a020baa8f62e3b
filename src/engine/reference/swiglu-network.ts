// Plain-tfjs SwiGLU networks over row segments: y = (silu(x Wgᵀ) ⊙ (x Wuᵀ)) Wdᵀ, each segment with its own weights.
import type { Tensor2D } from '../tf.ts';
import { groupedLinearReference } from './grouped-linear.ts';
import { swigluReference } from './swiglu.ts';

export function swigluNetworkReference(
  x_ND: Tensor2D,
  gate_EFD: Tensor2D[],
  up_EFD: Tensor2D[],
  down_EDF: Tensor2D[],
  offsets_E1: Int32Array,
): Tensor2D {
  const gate_NF = groupedLinearReference(x_ND, gate_EFD, offsets_E1);
  const up_NF = groupedLinearReference(x_ND, up_EFD, offsets_E1);
  return groupedLinearReference(swigluReference(gate_NF, up_NF), down_EDF, offsets_E1);
}
