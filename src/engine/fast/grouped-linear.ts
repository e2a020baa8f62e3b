// Grouped linear map on the C kernels: all segments of rows in one call, each with its own weight.
// Kernel MoeGroupedLinear: { x: [N, D], w0 … wE−1: [F, D] }, { offsets_E1 } -> y_NF.
// Kernel MoeGroupedLinearGrad: the same and { gradient: [N, F] } -> dx, dw0 … dwE−1 (zeros for an empty segment).

import type { KernelMemory } from '../memory.ts';
import { registerFast } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';

export interface GroupedLinearAttributes {
  offsets_E1: Int32Array;
}

type Inputs = Record<string, TensorInfo>;

/** The weights of E experts: the inputs named by `letter` and their number. */
export const weightsOf = (inputs: Inputs, letter: string, experts: number): TensorInfo[] =>
  Array.from({ length: experts }, (_, e) => inputs[`${letter}${e}`]);

/** The forward kernel for these weights, and the weights as it takes them: bf16 where all are. */
export function forwardWeights(memory: KernelMemory, weights: TensorInfo[]) {
  const halves = weights.map(weight => memory.halves(weight));
  if (halves.every(half => half !== null)) return { kernel: 'grouped_gemm_half', arrays: halves };
  return { kernel: 'grouped_gemm', arrays: weights.map(memory.view, memory) };
}

registerFast<GroupedLinearAttributes>('MoeGroupedLinear', (memory, inputs, { offsets_E1 }) => {
  const experts = offsets_E1.length - 1;
  const [rows, d] = inputs.x.shape;
  const f = inputs.w0.shape[0];
  const y_NF = memory.allocate([rows, f]);
  const { kernel, arrays } = forwardWeights(memory, weightsOf(inputs, 'w', experts));
  memory.call(kernel, memory.view(inputs.x), arrays, offsets_E1, memory.view(y_NF), experts, d, f);
  return [y_NF];
});

registerFast<GroupedLinearAttributes>('MoeGroupedLinearGrad', (memory, inputs, { offsets_E1 }) => {
  const experts = offsets_E1.length - 1;
  const [rows, d] = inputs.x.shape;
  const f = inputs.w0.shape[0];
  const dx_ND = memory.allocate([rows, d]);
  const dw = Array.from({ length: experts }, () => memory.allocate([f, d]));
  const [x, dy, dx] = [inputs.x, inputs.gradient, dx_ND].map(memory.view, memory);
  const weights = weightsOf(inputs, 'w', experts).map(memory.view, memory);
  memory.call('grouped_gemm_input', dy, weights, offsets_E1, dx, experts, d, f, false);
  memory.call('grouped_gemm_weight', dy, x, offsets_E1, dw.map(memory.view, memory), experts, d, f);
  return [dx_ND, ...dw];
});
