// Grouped linear map in WGSL: y[n] = x[n] w[e]ᵀ; dx[n] = dy[n] w[e]; dw[e] = Σ_n dy[n] ⊗ x[n] over the rows of expert e.
// Kernel MoeGroupedLinear: { x: [N, D], w0 … wE−1: [F, D] }, { offsets_E1 } -> y_NF.
// Kernel MoeGroupedLinearGrad: the same and { gradient: [N, F] } -> dx, dw0 … dwE−1 (zeros for an empty segment).

import { weightsOf } from '../fast/grouped-linear.ts';
import type { Integers } from '../integers.ts';
import { registerGpu } from './gpu.ts';
import { groupedRows, groupedWeights, withSegments } from './grouped-product.ts';
import { inHalf } from './product.ts';

interface Attributes {
  offsets_E1: Integers;
}

registerGpu<Attributes>('MoeGroupedLinear', (gpu, inputs, { offsets_E1 }) =>
  withSegments(gpu, offsets_E1, segments => {
    const weights = weightsOf(inputs, 'w', segments.experts);
    return [groupedRows(gpu, [inputs.x], [weights], segments, { transposed: true, half: inHalf(gpu) })];
  }),
);

registerGpu<Attributes>('MoeGroupedLinearGrad', (gpu, inputs, { offsets_E1 }) =>
  withSegments(gpu, offsets_E1, segments => {
    const weights = weightsOf(inputs, 'w', segments.experts);
    const dx = groupedRows(gpu, [inputs.gradient], [weights], segments, { transposed: false });
    return [dx, ...groupedWeights(gpu, [inputs.gradient], inputs.x, segments).flat()];
  }),
);
