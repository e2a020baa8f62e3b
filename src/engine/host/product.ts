// Host matrix product. Where the backend has a product that takes transposes (native), it is used as it is. The others
// are fast only when neither side is transposed (wasm: 30 against 2 GFLOP/s), so the operands are turned first.
// Kernel MoeProduct: { a, b, bias? }, { transposeA, transposeB } -> [m, n].

import type { HostMemory } from '../host.ts';
import { registerHostKernel } from '../host.ts';
import type { TensorInfo } from '../tf.ts';
import { transposeInto } from './transpose.ts';

/** Attributes of MoeProduct. */
export interface ProductAttributes {
  transposeA: boolean;
  transposeB: boolean;
}

const asBatch = (matrix: TensorInfo): TensorInfo => ({ ...matrix, shape: [1, ...matrix.shape] });
const sizeOf = (matrix: TensorInfo): number => matrix.shape[0] * matrix.shape[1];

function transposed(memory: HostMemory, matrix: TensorInfo): TensorInfo {
  const [rows, columns] = matrix.shape;
  const result = memory.allocate([columns, rows]);
  transposeInto(memory.view(matrix), memory.view(result), rows, columns);
  return result;
}

/** a b with neither side transposed. An empty inner dimension gives zeros, which the backend does not promise. */
function plainProduct(memory: HostMemory, a: TensorInfo, b: TensorInfo, bias?: TensorInfo): TensorInfo {
  const shape = [a.shape[0], b.shape[1]];
  if (sizeOf(a) === 0 || sizeOf(b) === 0) {
    const empty = memory.allocate(shape);
    const y = memory.view(empty);
    const offset = bias ? memory.view(bias) : null;
    for (let i = 0; i < y.length; i++) y[i] = offset ? offset[i % shape[1]] : 0;
    return empty;
  }
  if (!bias) return memory.run('BatchMatMul', { a, b }, { transposeA: false, transposeB: false });
  const batched = { a: asBatch(a), b: asBatch(b), bias }; // the fused kernel reads shapes of rank 3 only
  const result = memory.run('_FusedMatMul', batched, { transposeA: false, transposeB: false, activation: 'linear' });
  return { ...result, shape };
}

/** op(a) op(b) + bias, in the order of transposes that moves least. */
export function product(
  memory: HostMemory,
  a: TensorInfo,
  b: TensorInfo,
  attributes: ProductAttributes,
  bias?: TensorInfo,
): TensorInfo {
  const turns = !memory.kernels && attributes.transposeA && !attributes.transposeB && !bias && sizeOf(b) > sizeOf(a);
  return turns ? turnedProduct(memory, a, b) : straightProduct(memory, a, b, attributes, bias);
}

/** op(a) op(b) + bias, each operand as it stands. */
export function straightProduct(
  memory: HostMemory,
  a: TensorInfo,
  b: TensorInfo,
  { transposeA, transposeB }: ProductAttributes,
  bias?: TensorInfo,
): TensorInfo {
  if (memory.kernels) return gemmProduct(memory, a, b, { transposeA, transposeB }, bias);
  const left = transposeA ? transposed(memory, a) : a;
  const right = transposeB ? transposed(memory, b) : b;
  const result = plainProduct(memory, left, right, bias);
  if (left !== a) memory.release(left);
  if (right !== b) memory.release(right);
  return result;
}

function gemmProduct(
  memory: HostMemory,
  a: TensorInfo,
  b: TensorInfo,
  { transposeA, transposeB }: ProductAttributes,
  bias?: TensorInfo,
): TensorInfo {
  const [m, k] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
  const n = b.shape[transposeB ? 0 : 1];
  const c = memory.allocate([m, n]);
  const offset = bias ? memory.view(bias) : null;
  memory.kernels!.gemm(memory.view(a), memory.view(b), memory.view(c), m, n, k, transposeA, transposeB, false, offset);
  return c;
}

/** aᵀ b as (bᵀ a)ᵀ: the right-hand side is packed at some cost per element, so the smaller matrix should be there. */
function turnedProduct(memory: HostMemory, a: TensorInfo, b: TensorInfo): TensorInfo {
  const left = transposed(memory, b);
  const turned = plainProduct(memory, left, a);
  const result = transposed(memory, turned);
  memory.release(left, turned);
  return result;
}

registerHostKernel<ProductAttributes>('MoeProduct', (memory, { a, b, bias }, attributes) => [
  product(memory, a, b, attributes, bias),
]);

/** Column sums of x_TF, in row order: the gradient of a bias. */
registerHostKernel('MoeColumnSum', (memory, { x: x_TF }) => {
  const [rows, columns] = x_TF.shape;
  const result = memory.allocate([columns]);
  const x = memory.view(x_TF);
  const sum_F = new Float64Array(columns);
  for (let t = 0, i = 0; t < rows; t++) for (let f = 0; f < columns; f++) sum_F[f] += x[i++];
  memory.view(result).set(sum_F);
  return [result];
});
