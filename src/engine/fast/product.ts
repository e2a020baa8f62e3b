// Matrix products on the C kernels: C = op(A) op(B) (+ bias), also of many matrices at once.
// Kernel MoeProduct: { a, b, bias? }, { transposeA, transposeB } -> [m, n].
// Kernel MoeColumnSum: { x: [T, F] } -> [F], the gradient of a bias.

import type { KernelMemory } from '../memory.ts';
import { registerFast } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';

/** Attributes of MoeProduct, and of tfjs's BatchMatMul. */
export interface ProductAttributes {
  transposeA: boolean;
  transposeB: boolean;
}

/** Attributes of tfjs's _FusedMatMul. */
export interface FusedProductAttributes extends ProductAttributes {
  activation: string;
}

const isFloat = (tensor: TensorInfo | undefined): boolean => !tensor || tensor.dtype === 'float32';

/** op(a) op(b) + bias for a [..., m, k], b [..., k, n] (after transposing) and bias [n], with equal leading sizes.
 *  null for what tfjs must do: other types, and leading sizes that differ. */
export function product(
  memory: KernelMemory,
  a: TensorInfo,
  b: TensorInfo,
  { transposeA, transposeB }: ProductAttributes,
  bias?: TensorInfo,
): TensorInfo | null {
  const leading = a.shape.slice(0, -2);
  const fits = leading.join() === b.shape.slice(0, -2).join();
  if (!fits || !isFloat(a) || !isFloat(b) || !isFloat(bias)) return null;
  const [rows, columns] = a.shape.slice(-2);
  const [m, k] = transposeA ? [columns, rows] : [rows, columns];
  const n = b.shape[b.shape.length - (transposeB ? 2 : 1)];
  const batch = leading.reduce((size, length) => size * length, 1);
  const c = memory.allocate([...leading, m, n]);
  const [va, vb, vc] = [a, b, c].map(memory.view, memory);
  memory.call('gemm', va, vb, vc, bias ? memory.view(bias) : 0, batch, m, n, k, transposeA, transposeB, false);
  return c;
}

/** tfjs's _FusedMatMul, where it is no more than a product and perhaps a bias per column; null for the rest. */
export function fusedProduct(
  memory: KernelMemory,
  { a, b, bias, preluActivationWeights }: Record<string, TensorInfo>,
  attributes: FusedProductAttributes,
): TensorInfo | null {
  const biasPerColumn = !bias || bias.shape.length === 1;
  if (attributes.activation !== 'linear' || preluActivationWeights || !biasPerColumn) return null;
  return product(memory, a, b, attributes, bias);
}

/** x Wᵀ + bias with a W in bf16, read in place; null for every other product. */
function halfProduct(
  memory: KernelMemory,
  x: TensorInfo,
  w: TensorInfo,
  { transposeA, transposeB }: ProductAttributes,
  bias?: TensorInfo,
): TensorInfo | null {
  const halves = memory.halves(w);
  if (!halves || transposeA || !transposeB || !isFloat(x) || !isFloat(bias)) return null;
  const [[m, k], [n]] = [x.shape, w.shape];
  const y = memory.allocate([m, n]);
  memory.call('gemm_half', memory.view(x), halves, memory.view(y), bias ? memory.view(bias) : 0, m, n, k);
  return y;
}

registerFast<ProductAttributes>('MoeProduct', (memory, { a, b, bias }, attributes) => {
  const c = halfProduct(memory, a, b, attributes, bias) ?? product(memory, a, b, attributes, bias);
  if (!c) throw new Error(`MoeProduct: [${a.shape}] ${a.dtype} and [${b.shape}] ${b.dtype} are not fp32 matrices`);
  return [c];
});

registerFast('MoeColumnSum', (memory, { x: x_TF }) => {
  const [rows, columns] = x_TF.shape;
  const sum_F = memory.allocate([columns]);
  memory.call('column_sum', memory.view(x_TF), memory.view(sum_F), rows, columns);
  return [sum_F];
});
