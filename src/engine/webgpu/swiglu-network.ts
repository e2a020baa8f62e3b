// SwiGLU networks over row segments in WGSL; silu(gate) ⊙ up is made again for the gradient, not kept.
//   h = silu(x Wgᵀ) ⊙ (x Wuᵀ);  y = h Wdᵀ.   dh = dy Wd; (dg, du) = swiglu'(dh); dx = dg Wg + du Wu; dW = d(out)ᵀ (in).
// Kernel MoeSwigluNetwork: { x: [N, D], g0…, u0…: [F, D], d0…: [D, F] }, { offsets_E1 } -> y, gate, up [N, F].
// Kernel MoeSwigluNetworkGrad: the same and { gate, up, gradient } -> dx, dg0…, du0…, dd0….

import { weightsOf } from '../fast/grouped-linear.ts';
import type { Integers } from '../integers.ts';
import { registerGpu } from './gpu.ts';
import { groupedRows, groupedWeights, withSegments } from './grouped-product.ts';
import { inHalf } from './product.ts';
import { swiglu, swigluGradient } from './swiglu.ts';

interface Attributes {
  offsets_E1: Integers;
}

registerGpu<Attributes>('MoeSwigluNetwork', (gpu, inputs, { offsets_E1 }) =>
  withSegments(gpu, offsets_E1, segments => {
    const [g, u, d] = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, segments.experts));
    const options = { transposed: true, half: inHalf(gpu) };
    const gate = groupedRows(gpu, inputs.x, g, segments, options);
    const up = groupedRows(gpu, inputs.x, u, segments, options);
    const hidden = swiglu(gpu, gate, up);
    const y = groupedRows(gpu, hidden, d, segments, options);
    gpu.release(hidden);
    return [y, gate, up];
  }),
);

registerGpu<Attributes>('MoeSwigluNetworkGrad', (gpu, inputs, { offsets_E1 }) =>
  withSegments(gpu, offsets_E1, segments => {
    const { x, gate, up, gradient: dy } = inputs;
    const [g, u, d] = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, segments.experts));
    const dh = groupedRows(gpu, dy, d, segments, { transposed: false });
    const { dgate, dup, y: hidden } = swigluGradient(gpu, gate, up, dh);
    gpu.release(dh);
    const dd = groupedWeights(gpu, dy, hidden, segments);
    gpu.release(hidden);
    const [dg, du] = [dgate, dup].map(dout => groupedWeights(gpu, dout, x, segments));
    const dx = groupedRows(gpu, dgate, g, segments, { transposed: false });
    groupedRows(gpu, dup, u, segments, { transposed: false, into: dx });
    gpu.release(dgate, dup);
    return [dx, ...dg, ...du, ...dd];
  }),
);
