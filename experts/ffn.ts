// What an expert is: a SwiGLU feed-forward network (Shazeer 2020, arXiv 2002.05202), Hugging Face names and layout.
//   y = W_down (silu(W_gate x) ⊙ W_up x).   gate_proj, up_proj [F, D], down_proj [D, F]; D model width, F expert width.
import type { Integers } from '../src/engine/integers.ts';
import { swigluNetwork } from '../src/engine/ops/swiglu-network.ts';
import type { Tensor2D } from '../src/engine/tf.ts';

export interface FfnWeights {
  gate_proj: Tensor2D;
  up_proj: Tensor2D;
  down_proj: Tensor2D;
}

/** One dense network for all rows: x_TD [T, D] → [T, D]. */
export const ffn = (x_TD: Tensor2D, weights: FfnWeights): Tensor2D =>
  groupedFfn(x_TD, [weights], Int32Array.of(0, x_TD.shape[0]));

/** One network per segment: rows offsets[e] … offsets[e+1]−1 of x_MD through experts[e]. [M, D] → [M, D]. */
export function groupedFfn(x_MD: Tensor2D, experts: readonly FfnWeights[], offsets_E1: Integers): Tensor2D {
  const each = (name: keyof FfnWeights) => experts.map(expert => expert[name]);
  return swigluNetwork(x_MD, each('gate_proj'), each('up_proj'), each('down_proj'), offsets_E1);
}
