// Host grouped linear map: one matrix product per non-empty segment of rows, each with its own weight.
// Kernel MoeGroupedLinear: { x: [N, D], w0 … wE−1: [F, D] }, { offsets_E1 } -> y_NF.
// Kernel MoeGroupedLinearGrad: the same and { gradient: [N, F] } -> dx, dw0 … dwE−1 (zeros for an empty segment).

import type { HostMemory } from '../host.ts';
import { registerHostKernel } from '../host.ts';
import type { TensorInfo } from '../tf.ts';
import { product } from './product.ts';

export interface GroupedLinearAttributes {
  offsets_E1: Int32Array;
}

const TO_OUTPUT = { transposeA: false, transposeB: true };
const TO_INPUT = { transposeA: false, transposeB: false };
const TO_WEIGHT = { transposeA: true, transposeB: false };

function copyRows(memory: HostMemory, matrix: TensorInfo, start: number, end: number): TensorInfo {
  const width = matrix.shape[1];
  const rows = memory.allocate([end - start, width]);
  memory.view(rows).set(memory.view(matrix).subarray(start * width, end * width));
  return rows;
}

/** Copies `rows` into `target` from row `start` on and frees them. */
function placeRows(memory: HostMemory, target: TensorInfo, start: number, rows: TensorInfo): void {
  memory.view(target).set(memory.view(rows), start * target.shape[1]);
  memory.release(rows);
}

registerHostKernel<GroupedLinearAttributes>('MoeGroupedLinear', (memory, inputs, { offsets_E1 }) => {
  const y_NF = memory.allocate([inputs.x.shape[0], inputs.w0.shape[0]]);
  for (let e = 0; e + 1 < offsets_E1.length; e++) {
    const [start, end] = [offsets_E1[e], offsets_E1[e + 1]];
    if (start === end) continue;
    const rows = copyRows(memory, inputs.x, start, end);
    placeRows(memory, y_NF, start, product(memory, rows, inputs[`w${e}`], TO_OUTPUT));
    memory.release(rows);
  }
  return [y_NF];
});

registerHostKernel<GroupedLinearAttributes>('MoeGroupedLinearGrad', (memory, inputs, { offsets_E1 }) => {
  const dx_ND = memory.allocate(inputs.x.shape);
  const dw: TensorInfo[] = [];
  for (let e = 0; e + 1 < offsets_E1.length; e++) {
    const [start, end] = [offsets_E1[e], offsets_E1[e + 1]];
    if (start === end) {
      dw.push(memory.allocate(inputs.w0.shape));
      memory.view(dw[e]).fill(0);
      continue;
    }
    const rows = copyRows(memory, inputs.x, start, end);
    const gradients = copyRows(memory, inputs.gradient, start, end);
    placeRows(memory, dx_ND, start, product(memory, gradients, inputs[`w${e}`], TO_INPUT));
    dw.push(product(memory, gradients, rows, TO_WEIGHT));
    memory.release(rows, gradients);
  }
  return [dx_ND, ...dw];
});
