// Grouped linear map on the C kernels: all segments of rows in one call, each with its own weight.
// Kernel MoeGroupedLinear: { x: [N, D], w0 … wE−1: [F, D] }, { offsets_E1 } -> y_NF.
// Kernel MoeGroupedLinearGrad: the same and { gradient: [N, F] } -> dx, dw0 … dwE−1 (zeros for an empty segment).

import type { KernelMemory } from '../memory.ts';
import { registerFast } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';

export interface GroupedLinearAttributes {
  offsets_E1: Int32Array;
}

/** All weights in bf16, or null where one is not. */
function halfWeights(memory: KernelMemory, inputs: Record<string, TensorInfo>, experts: number): Uint16Array[] | null {
  const weights = Array.from({ length: experts }, (_, e) => memory.halves(inputs[`w${e}`]));
  return weights.every(halves => halves !== null) ? weights : null;
}

const viewWeights = (memory: KernelMemory, inputs: Record<string, TensorInfo>, experts: number): Float32Array[] =>
  Array.from({ length: experts }, (_, e) => memory.view(inputs[`w${e}`]));

registerFast<GroupedLinearAttributes>('MoeGroupedLinear', (memory, inputs, { offsets_E1 }) => {
  const experts = offsets_E1.length - 1;
  const [rows, d] = inputs.x.shape;
  const f = inputs.w0.shape[0];
  const y_NF = memory.allocate([rows, f]);
  const halves = halfWeights(memory, inputs, experts);
  const weights = halves ?? viewWeights(memory, inputs, experts);
  const kernel = halves ? 'grouped_gemm_half' : 'grouped_gemm';
  memory.call(kernel, memory.view(inputs.x), weights, offsets_E1, memory.view(y_NF), experts, d, f);
  return [y_NF];
});

registerFast<GroupedLinearAttributes>('MoeGroupedLinearGrad', (memory, inputs, { offsets_E1 }) => {
  const experts = offsets_E1.length - 1;
  const [rows, d] = inputs.x.shape;
  const f = inputs.w0.shape[0];
  const dx_ND = memory.allocate([rows, d]);
  const dw = Array.from({ length: experts }, () => memory.allocate([f, d]));
  const [x, dy, dx] = [inputs.x, inputs.gradient, dx_ND].map(memory.view, memory);
  const weights = viewWeights(memory, inputs, experts);
  memory.call('grouped_gemm_input', dy, weights, offsets_E1, dx, experts, d, f);
  memory.call('grouped_gemm_weight', dy, x, offsets_E1, dw.map(memory.view, memory), experts, d, f);
  return [dx_ND, ...dw];
});
