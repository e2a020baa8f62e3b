// What an expert is: a SwiGLU feed-forward network (Shazeer 2020, arXiv 2002.05202), Hugging Face names and layout.
//   y = W_down (silu(W_gate x) ⊙ W_up x).   gate_proj, up_proj [F, D], down_proj [D, F]; D model width, F expert width.
import { groupedLinear } from '../src/engine/ops/grouped-linear.ts';
import { linear } from '../src/engine/ops/linear.ts';
import { swiglu } from '../src/engine/ops/swiglu.ts';
import { type Tensor2D, tf } from '../src/engine/tf.ts';

export interface FfnWeights {
  gate_proj: Tensor2D;
  up_proj: Tensor2D;
  down_proj: Tensor2D;
}

/** One dense network for all rows: x_TD [T, D] → [T, D]. */
export function ffn(x_TD: Tensor2D, { gate_proj, up_proj, down_proj }: FfnWeights): Tensor2D {
  return tf.tidy(() => linear(swiglu(linear(x_TD, gate_proj), linear(x_TD, up_proj)), down_proj));
}

/** One network per segment: rows offsets[e] … offsets[e+1]−1 of x_MD through experts[e]. [M, D] → [M, D]. */
export function groupedFfn(x_MD: Tensor2D, experts: readonly FfnWeights[], offsets_E1: Int32Array): Tensor2D {
  return tf.tidy(() => {
    const each = (name: keyof FfnWeights) => experts.map(expert => expert[name]);
    const gate_MF = groupedLinear(x_MD, each('gate_proj'), offsets_E1);
    const up_MF = groupedLinear(x_MD, each('up_proj'), offsets_E1);
    return groupedLinear(swiglu(gate_MF, up_MF), each('down_proj'), offsets_E1);
  });
}
