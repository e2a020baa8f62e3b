// Matrix products in WGSL: C = op(A) op(B) (+ bias). A sum that is long where C is small is cut into its blocks, which further
// workgroups make side by side and a last kernel adds up in order: the same bits as one after the other.
// Kernel MoeProduct: { a, b, bias? }, { transposeA, transposeB } -> [m, n].
// Kernel MoeColumnSum: { x: [T, F] } -> [F], the gradient of a bias.

import type { ProductAttributes } from '../fast/product.ts';
import type { TensorInfo } from '../tf.ts';
import { type Gpu, registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';
import type { Program } from './program.ts';
import { sumRows } from './sum-rows.ts';
import {
  arrayType,
  MANY,
  oncePerForm,
  readLine,
  SUM_BLOCK,
  type Tile,
  tileFor,
  tileProduct,
  tilesOf,
  writeLine,
} from './tile-product.ts';
import { inBoth, perValue, VALUE } from './values.ts';

/** One form of the kernel. `vectors`: whether a, b and c are bound as vectors of four numbers. */
export interface ProductForm extends ProductAttributes {
  tile: Tile;
  vectors: { a: boolean; b: boolean; c: boolean };
  bias: boolean;
  half: boolean;
}

/** WGSL: the body of `put` that stores in `name` at `at`, with `count` numbers left in the row, and adds up blocks there. */
export const addUp = (name: string, value = 'value'): string => /* wgsl */ `
  var sum = ${value};
  if (!first) { sum += line_${name}(at, count); }
  set_${name}(at, count, sum);`;

/** Workgroups with id.z = i make the terms from i · span on, into the i-th C of `c`. */
export const productProgram = oncePerForm(
  ({ tile, vectors, bias, half, transposeA, transposeB }: ProductForm): Program => ({
    name: `product ${transposeA ? 'Aᵀ' : 'A'} ${transposeB ? 'Bᵀ' : 'B'}, tiles of ${tile.rows} × ${tile.columns}`,
    code: tileProduct({
      tile,
      half,
      a: { buffers: ['a'], alongK: !transposeA, vectors: vectors.a },
      b: { buffers: ['b'], alongK: transposeB, vectors: vectors.b },
      declarations: /* wgsl */ `
struct Parameters { rows: u32, columns: u32, terms: u32, span: u32, by_rows: u32 }
@group(0) @binding(0) var<storage, read> a: ${arrayType(vectors.a)};
@group(0) @binding(1) var<storage, read> b: ${arrayType(vectors.b)};
@group(0) @binding(2) var<storage, read_write> c: ${arrayType(vectors.c)};
${bias ? '@group(0) @binding(3) var<storage, read> bias: array<f32>;' : ''}
@group(0) @binding(${bias ? 4 : 3}) var<uniform> parameters: Parameters;
var<private> copy: u32;
${readLine('c', vectors.c)}
${writeLine('c', vectors.c)}
${bias ? readLine('bias', false) : ''}`,
      locate: /* wgsl */ `
  copy = id.z * parameters.rows;
  let place = select(id.xy, id.yx, parameters.by_rows == 1);
  column_first = place.x * ${tile.columns};
  column_end = parameters.columns;
  row_first = place.y * ${tile.rows};
  row_end = parameters.rows;
  k_first = id.z * parameters.span;
  k_end = min(parameters.terms, k_first + parameters.span);
  length_a = parameters.${transposeA ? 'rows' : 'terms'};
  length_b = parameters.${transposeB ? 'terms' : 'columns'};`,
      put: /* wgsl */ `
  let at = (copy + row) * parameters.columns + column;
  let count = parameters.columns - column;
  ${addUp('c', bias ? 'value + select(vec4<f32>(), line_bias(column, count), first && copy == 0)' : 'value')}`,
    }),
  }),
);

/** Whether products of a forward pass are asked for in f16. Gradients are not: without scaling they are too small for it. */
export const inHalf = (gpu: Gpu): boolean => gpu.precision === 'f16' && gpu.device.features.has('shader-f16');

/** Memory for blocks of sums that are made side by side, in numbers. */
const MOST_PARTS = 1 << 24;

/** What is otherwise chosen by the sizes. */
export interface Choice {
  tile?: Tile;
  /** Whether the blocks of a long sum are made side by side. */
  split?: boolean;
}

/** op(a) op(b) + bias. */
export function product(
  gpu: Gpu,
  a: TensorInfo,
  b: TensorInfo,
  { transposeA, transposeB }: ProductAttributes,
  bias?: TensorInfo,
  choice: Choice = {},
): TensorInfo {
  const [[m, k], n] = [transposeA ? [...a.shape].reverse() : a.shape, b.shape[transposeB ? 0 : 1]];
  const blocks = Math.ceil(k / SUM_BLOCK);
  const mayBeSplit = (choice.split ?? true) && blocks > 1 && m * n * blocks <= MOST_PARTS;
  const tile = choice.tile ?? tileFor(m, n, { copies: mayBeSplit ? blocks : 1 });
  const split = mayBeSplit && (choice.split || tilesOf(tile, m, n) < MANY);
  const vectors = { a: a.shape[1] % 4 === 0, b: b.shape[1] % 4 === 0, c: n % 4 === 0 };
  const half = inHalf(gpu) && !transposeA && transposeB;
  const program = productProgram({ tile, vectors, bias: bias !== undefined, half, transposeA, transposeB });
  const c = gpu.allocate(split ? [blocks, m * n] : [m, n]);
  const [span, copies] = split ? [SUM_BLOCK, blocks] : [k, 1];
  const [down, across] = [Math.ceil(m / tile.rows), Math.ceil(n / tile.columns)];
  const byRows = m < n; // workgroups that run at the same time then share the larger operand, and the smaller one stays near
  const parameters = { rows: m, columns: n, terms: k, span, by_rows: byRows ? 1 : 0 };
  const grid = byRows ? ([down, across, copies] as const) : ([across, down, copies] as const);
  gpu.run(program, bias ? [a, b, c, bias] : [a, b, c], parameters, grid);
  if (!split) return c;
  const sum = sumRows(gpu, c);
  gpu.release(c);
  return { ...sum, shape: [m, n] };
}

registerGpu<ProductAttributes>('MoeProduct', (gpu, { a, b, bias }, attributes) => [
  product(gpu, a, b, attributes, bias),
]);

/** Rows that one invocation adds up, per column. */
const ROWS_PER_SUM = 64;

const columnSum = inBoth(per => ({
  name: 'column sum',
  code: /* wgsl */ `
struct Parameters { rows: u32, width: u32, sums: u32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> sums: array<Value>;
@group(0) @binding(2) var<uniform> parameters: Parameters;
${VALUE[per]}
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let place = workgroup_index(id, count) * 64 + lane;
  if (place >= parameters.sums * parameters.width) { return; }
  let first = place / parameters.width * ${ROWS_PER_SUM};
  let end = min(parameters.rows, first + ${ROWS_PER_SUM});
  var sum = Value();
  for (var row = first; row < end; row++) { sum += x[row * parameters.width + place % parameters.width]; }
  sums[place] = sum;
}`,
}));

/** Sums of the columns of a matrix, by blocks of rows, then blocks of blocks. */
export function sumColumns(gpu: Gpu, x: TensorInfo): TensorInfo {
  const [rows, columns] = x.shape;
  if (rows <= ROWS_PER_SUM) return sumRows(gpu, x);
  const per = perValue(columns);
  const sums = Math.ceil(rows / ROWS_PER_SUM);
  const parts = gpu.allocate([sums, columns]);
  const width = columns / per;
  gpu.run(columnSum[per], [x, parts], { rows, width, sums }, Math.ceil((sums * width) / 64));
  const total = sumColumns(gpu, parts);
  gpu.release(parts);
  return total;
}

registerGpu('MoeColumnSum', (gpu, { x }) => [sumColumns(gpu, x)]);
