// Grouped linear map for TensorFlow: one product per segment, no row through an expert that is not its own.
// Kernels as in fast/grouped-linear.ts.

import type { GroupedLinearAttributes } from '../fast/grouped-linear.ts';
import { registerTensorflow } from './kernel.ts';
import { forwardEach, inputGradientEach, joined, segmentsOf, weightGradientEach, weightsOf } from './segments.ts';

registerTensorflow<GroupedLinearAttributes>('MoeGroupedLinear', (inputs, { offsets_E1 }) => {
  const w = weightsOf(inputs, 'w', offsets_E1.length - 1);
  return [joined(forwardEach(segmentsOf(inputs.x, offsets_E1), w))];
});

registerTensorflow<GroupedLinearAttributes>('MoeGroupedLinearGrad', (inputs, { offsets_E1 }) => {
  const w = weightsOf(inputs, 'w', offsets_E1.length - 1);
  const [x, dy] = [inputs.x, inputs.gradient].map(tensor => segmentsOf(tensor, offsets_E1));
  return [joined(inputGradientEach(dy, w)), ...weightGradientEach(dy, x)];
});
