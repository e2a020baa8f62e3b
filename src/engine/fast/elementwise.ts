// Kernels of tfjs that ours take the place of where all is fp32: arithmetic on equal shapes, or on a matrix and one row,
// one column or one number; e^x and ln x; softmax and sums over the last axis.

import type { KernelMemory } from '../memory.ts';
import { registerOver } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';
import { tf } from '../tf.ts';

const isFloat = (tensor: TensorInfo): boolean => tensor.dtype === 'float32';
const sizeOf = (shape: number[]): number => tf.util.sizeFromShape(shape);

/** How to walk over an operand: floats from one row to the next, and from one column to the next. */
type Steps = [row: number, column: number];

/** The operand as a matrix of so many columns, of which it may be one row or one column; null for any other part. */
function stepsOf(operand: number[], shape: number[], columns: number): Steps | null {
  if (sizeOf(operand) === 1) return [0, 0];
  const padded = [...shape.map(() => 1), ...operand].slice(-shape.length);
  const wide = padded.at(-1) === columns;
  if (padded.slice(0, -1).every(length => length === 1)) return wide ? [0, 1] : null;
  if (!padded.slice(0, -1).every((length, i) => length === shape[i])) return null;
  return wide ? [columns, 1] : [1, 0];
}

function arithmetic(memory: KernelMemory, kernel: string, a: TensorInfo, b: TensorInfo): TensorInfo | null {
  if (!isFloat(a) || !isFloat(b)) return null;
  const alike = tf.util.arraysEqual(a.shape, b.shape);
  const shape = alike ? a.shape : tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const columns = alike ? sizeOf(shape) : (shape.at(-1) as number);
  const rows = alike ? 1 : sizeOf(shape.slice(0, -1));
  const [stepsA, stepsB] = [a, b].map(({ shape: own }): Steps | null =>
    alike ? [0, 1] : stepsOf(own, shape, columns),
  );
  if (!stepsA || !stepsB) return null;
  const out = memory.allocate(shape);
  memory.call(kernel, memory.view(a), memory.view(b), memory.view(out), rows, columns, ...stepsA, ...stepsB);
  return out;
}

for (const [kernelName, kernel] of [
  ['Add', 'add'],
  ['Sub', 'subtract'],
  ['Multiply', 'multiply'],
  ['RealDiv', 'divide'],
]) {
  registerOver(kernelName, (memory, { a, b }) => arithmetic(memory, kernel, a, b));
}

for (const [kernelName, kernel] of [
  ['Exp', 'exponential_each'],
  ['Log', 'logarithm_each'],
]) {
  registerOver(kernelName, (memory, { x }) => {
    if (!isFloat(x)) return null;
    const y = memory.allocate(x.shape);
    memory.call(kernel, memory.view(x), memory.view(y), sizeOf(x.shape));
    return y;
  });
}

registerOver<{ dim: number }>('Softmax', (memory, { logits }, { dim }) => {
  if (!isFloat(logits) || dim !== logits.shape.length - 1) return null;
  const width = logits.shape[dim];
  const out = memory.allocate(logits.shape);
  memory.call('softmax', memory.view(logits), memory.view(out), sizeOf(logits.shape.slice(0, -1)), width);
  return out;
});

registerOver<{ axis: number | number[]; keepDims: boolean }>('Sum', (memory, { x }, { axis, keepDims }) => {
  const rank = x.shape.length;
  const axes = tf.util.parseAxisParam(axis, x.shape);
  if (!isFloat(x) || rank === 0) return null;
  const kept = x.shape.map((length, i) => (axes.includes(i) ? 1 : length));
  const out = memory.allocate(keepDims ? kept : kept.filter((_, i) => !axes.includes(i)));
  const [from, to, columns] = [memory.view(x), memory.view(out), x.shape[rank - 1]];
  const rows = sizeOf(x.shape.slice(0, -1));
  if (axes.length === rank) memory.call('row_sum', from, to, 1, rows * columns);
  else if (axes.length === 1 && axes[0] === rank - 1) memory.call('row_sum', from, to, rows, columns);
  else if (axes.length === rank - 1 && !axes.includes(rank - 1)) memory.call('column_sum', from, to, rows, columns);
  else {
    memory.release(out);
    return null;
  }
  return out;
});
