// Matrix products of the native backend, all through one C function that takes either side transposed.
// MoeGroupedLinear and its gradients take all row segments in one call.
import type { GroupedLinearAttributes } from '../host/grouped-linear.ts';
import type { ProductAttributes } from '../host/product.ts';
import { product } from '../host/product.ts';
import type { HostMemory } from '../host.ts';
import type { TensorInfo } from '../tf.ts';
import { replaceKernel } from './replace.ts';

interface FusedAttributes extends ProductAttributes {
  activation: string;
}

export function registerProducts(): void {
  replaceKernel<ProductAttributes>('BatchMatMul', (memory, { a, b }, attributes) =>
    batchProduct(memory, a, b, attributes),
  );
  replaceKernel<FusedAttributes>('_FusedMatMul', (memory, { a, b, bias, ...rest }, attributes) =>
    attributes.activation === 'linear' && bias?.shape.length === 1 && Object.values(rest).every(input => !input)
      ? batchProduct(memory, a, b, attributes, bias)
      : null,
  );
  replaceKernel<GroupedLinearAttributes>('MoeGroupedLinear', groupedLinear);
  replaceKernel<GroupedLinearAttributes>('MoeGroupedLinearGrad', groupedLinearGrad);
}

/** a [..., m, k] times b [..., k, n], equal leading sizes, each transposed on request; null for what tfjs must do. */
function batchProduct(
  memory: HostMemory,
  a: TensorInfo,
  b: TensorInfo,
  attributes: ProductAttributes,
  bias?: TensorInfo,
): TensorInfo | null {
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const plain = a.dtype === 'float32' && b.dtype === 'float32' && (!bias || bias.dtype === 'float32');
  if (!plain || batchA.join() !== batchB.join()) return null;
  if (batchA.length === 0) return product(memory, a, b, attributes, bias);
  const { transposeA, transposeB } = attributes;
  const [rowsA, columnsA] = a.shape.slice(-2);
  const [rowsB, columnsB] = b.shape.slice(-2);
  const [m, k] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const n = transposeB ? rowsB : columnsB;
  const c = memory.allocate([...batchA, m, n]);
  const [va, vb, vc] = [a, b, c].map(memory.view);
  const offset = bias ? memory.view(bias) : null;
  const part = (values: Float32Array, i: number, size: number): Float32Array =>
    values.subarray(i * size, (i + 1) * size);
  for (let i = 0; i * m * n < vc.length; i++)
    memory.kernels!.gemm(
      part(va, i, m * k),
      part(vb, i, k * n),
      part(vc, i, m * n),
      m,
      n,
      k,
      transposeA,
      transposeB,
      false,
      offset,
    );
  return c;
}

const weightsOf = (memory: HostMemory, inputs: Record<string, TensorInfo>, offsets_E1: Int32Array): Float32Array[] =>
  Array.from({ length: offsets_E1.length - 1 }, (_, e) => memory.view(inputs[`w${e}`]));

function groupedLinear(
  memory: HostMemory,
  inputs: Record<string, TensorInfo>,
  { offsets_E1 }: GroupedLinearAttributes,
): TensorInfo[] {
  const [rows, d] = inputs.x.shape;
  const f = inputs.w0.shape[0];
  const y_NF = memory.allocate([rows, f]);
  const w_EFD = weightsOf(memory, inputs, offsets_E1);
  memory.kernels!.groupedGemm(memory.view(inputs.x), w_EFD, offsets_E1, memory.view(y_NF), d, f);
  return [y_NF];
}

function groupedLinearGrad(
  memory: HostMemory,
  inputs: Record<string, TensorInfo>,
  { offsets_E1 }: GroupedLinearAttributes,
): TensorInfo[] {
  const [rows, d] = inputs.x.shape;
  const f = inputs.w0.shape[0];
  const dx_ND = memory.allocate([rows, d]);
  const dw = Array.from({ length: offsets_E1.length - 1 }, () => memory.allocate([f, d]));
  const [x, dy, dx] = [inputs.x, inputs.gradient, dx_ND].map(memory.view);
  const { groupedGemmInput, groupedGemmWeight } = memory.kernels!;
  groupedGemmInput(dy, weightsOf(memory, inputs, offsets_E1), offsets_E1, dx, d, f);
  groupedGemmWeight(dy, x, offsets_E1, dw.map(memory.view), d, f);
  return [dx_ND, ...dw];
}
