// SwiGLU feed-forward networks (Shazeer 2020), one per expert segment of rows: y[n] = (silu(x Wgᵀ) ⊙ (x Wuᵀ)) Wdᵀ.
// One segment is a dense network.
import '../fast/swiglu-network.ts';
import { forKernels, hostIntegers, type Integers } from '../integers.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { swigluNetworkReference } from '../reference/swiglu-network.ts';
import { checkOffsets, checkShape } from '../shape.ts';
import { type Tensor, type Tensor2D, tf } from '../tf.ts';

/** x_ND [N, D] through E networks of width F: gate and up [F, D], down [D, F] -> [N, D]. `offsets_E1` rises from 0 to N.
 *  An empty segment's gradients are zero. */
export function swigluNetwork(
  x_ND: Tensor2D,
  gate_EFD: Tensor2D[],
  up_EFD: Tensor2D[],
  down_EDF: Tensor2D[],
  offsets_E1: Integers,
): Tensor2D {
  const experts = gate_EFD.length;
  checkOffsets('swigluNetwork', offsets_E1, experts, x_ND.shape[0]);
  checkWeights(x_ND.shape[1], gate_EFD, up_EFD, down_EDF);
  if (!hasKernel('MoeSwigluNetwork')) {
    return tf.tidy(() => swigluNetworkReference(x_ND, gate_EFD, up_EFD, down_EDF, hostIntegers(offsets_E1)));
  }
  const named = (weights: Tensor[]): Record<string, Tensor> =>
    Object.fromEntries(weights.map((weight, i) => [`${'gud'[Math.floor(i / experts)]}${i % experts}`, weight]));
  const weights = [...gate_EFD, ...up_EFD, ...down_EDF];
  const integers = [forKernels(offsets_E1)];
  return withGradient(
    [x_ND, ...weights],
    () => {
      const [y, gate, up] = runKernel('MoeSwigluNetwork', { x: x_ND, ...named(weights) }, { offsets_E1: integers[0] });
      return { value: y as Tensor2D, saved: [x_ND, gate, up, ...weights] };
    },
    (gradient, [x, gate, up, ...own], [offsets]) =>
      runKernel('MoeSwigluNetworkGrad', { x, gate, up, gradient, ...named(own) }, { offsets_E1: offsets }),
    integers,
  );
}

function checkWeights(width: number, gate: Tensor2D[], up: Tensor2D[], down: Tensor2D[]): void {
  checkShape('swigluNetwork: numbers of up and down weights', [up.length, down.length], [gate.length, gate.length]);
  const inner = gate[0].shape[0];
  for (const weight of [...gate, ...up]) checkShape('swigluNetwork: gate or up weight', weight.shape, [inner, width]);
  for (const weight of down) checkShape('swigluNetwork: down weight', weight.shape, [width, inner]);
}
