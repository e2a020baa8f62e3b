// Kernels of tfjs that ours take the place of where all is fp32 and of one shape: sums, products and softmax.

import type { KernelMemory } from '../memory.ts';
import { registerOver } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';
import { tf } from '../tf.ts';

const isFloat = (tensor: TensorInfo): boolean => tensor.dtype === 'float32';
const sizeOf = (tensor: TensorInfo): number => tf.util.sizeFromShape(tensor.shape);

/** Whether both are fp32 and of one shape. */
const alike = (a: TensorInfo, b: TensorInfo): boolean =>
  isFloat(a) && isFloat(b) && tf.util.arraysEqual(a.shape, b.shape);

function pairwise(memory: KernelMemory, kernel: 'add' | 'multiply', a: TensorInfo, b: TensorInfo): TensorInfo {
  const out = memory.allocate(a.shape);
  memory.call(kernel, memory.view(a), memory.view(b), memory.view(out), sizeOf(a));
  return out;
}

/** a times the one number in b. */
function scale(memory: KernelMemory, a: TensorInfo, b: TensorInfo): TensorInfo {
  const out = memory.allocate(a.shape);
  memory.call('scale', memory.view(a), memory.view(b)[0], memory.view(out), sizeOf(a));
  return out;
}

function multiply(memory: KernelMemory, a: TensorInfo, b: TensorInfo): TensorInfo | null {
  if (alike(a, b)) return pairwise(memory, 'multiply', a, b);
  if (!isFloat(a) || !isFloat(b)) return null;
  if (b.shape.length === 0) return scale(memory, a, b);
  return a.shape.length === 0 ? scale(memory, b, a) : null;
}

registerOver('Add', (memory, { a, b }) => (alike(a, b) ? pairwise(memory, 'add', a, b) : null));
registerOver('Multiply', (memory, { a, b }) => multiply(memory, a, b));
registerOver<{ dim: number }>('Softmax', (memory, { logits }, { dim }) => {
  if (!isFloat(logits) || dim !== logits.shape.length - 1) return null;
  const width = logits.shape[dim];
  const out = memory.allocate(logits.shape);
  memory.call('softmax', memory.view(logits), memory.view(out), width === 0 ? 0 : sizeOf(logits) / width, width);
  return out;
});
