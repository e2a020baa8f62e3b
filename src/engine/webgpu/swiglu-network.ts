// SwiGLU networks over row segments in WGSL; silu(gate) ⊙ up is made again for the gradient, not kept.
//   h = silu(x Wgᵀ) ⊙ (x Wuᵀ);  y = h Wdᵀ.   dh = dy Wd; (dg, du) = swiglu'(dh); dx = dg Wg + du Wu; dW = d(out)ᵀ (in).
// Kernel MoeSwigluNetwork: { x: [N, D], g0…, u0…: [F, D], d0…: [D, F] }, { offsets_E1 } -> y, gate, up [N, F].
// Kernel MoeSwigluNetworkGrad: the same and { gate, up, gradient } -> dx, dg0…, du0…, dd0….

import { weightsOf } from '../fast/grouped-linear.ts';
import type { Integers } from '../integers.ts';
import type { TensorInfo } from '../tf.ts';
import { type Gpu, registerGpu } from './gpu.ts';
import {
  groupedRows,
  groupedWeights,
  mostBound,
  type RowsKernel,
  runRows,
  type Segments,
  withSegments,
} from './grouped-product.ts';
import { inHalf } from './product.ts';
import { SIGMOID, swiglu, swigluGradient } from './swiglu.ts';
import { type Tile, tileFor } from './tile-product.ts';
import { VALUE } from './values.ts';

interface Attributes {
  offsets_E1: Integers;
}

type Form = Pick<RowsKernel, 'tile' | 'bound' | 'vectors' | 'half'>;

/** gate = x Wgᵀ, up = x Wuᵀ and hidden = silu(gate) ⊙ up. */
export const gatedKernel = (form: Form): RowsKernel => ({
  ...form,
  name: 'gate, up and SwiGLU',
  transposed: true,
  a: ['x'],
  reads: [],
  c: ['gate', 'up', 'hidden'],
  parts: 2,
  functions: VALUE[4] + SIGMOID,
  put: /* wgsl */ `
  var g = value;
  var u = second;
  if (!first) {
    g += line_gate(at, count);
    u += line_up(at, count);
  }
  set_gate(at, count, g);
  set_up(at, count, u);
  if (last) { set_hidden(at, count, g * sigmoid(g) * u); }`,
});

/** dh = dy Wd, and of it the gradients of gate and up; and hidden once more. */
export const gateGradientKernel = (form: Form): RowsKernel => ({
  ...form,
  name: 'gradient of SwiGLU through a product',
  transposed: false,
  a: ['dy'],
  reads: ['gate', 'up'],
  c: ['dgate', 'dup', 'hidden'],
  parts: 1,
  functions: VALUE[4] + SIGMOID,
  put: /* wgsl */ `
  var dh = value;
  if (!first) { dh += line_dgate(at, count); }
  if (!last) {
    set_dgate(at, count, dh);
    return;
  }
  let g = line_gate(at, count);
  let u = line_up(at, count);
  let sigma = sigmoid(g);
  let silu = g * sigma;
  set_dgate(at, count, dh * u * (sigma * (1 + g * (1 - sigma))));
  set_dup(at, count, dh * silu);
  set_hidden(at, count, silu * u);`,
});

/** One kernel where all experts' matrices can be bound at once; else the products and the gate one after the other, which take
 *  more experts at a time. */
function gated(gpu: Gpu, x: TensorInfo, kinds: TensorInfo[][], segments: Segments, half: boolean) {
  const [{ experts }, [rows, terms], columns] = [segments, x.shape, kinds[0][0].shape[0]];
  if (experts > mostBound(gpu, 2, 5)) {
    const [gate, up] = kinds.map(own => groupedRows(gpu, [x], [own], segments, { transposed: true, half }));
    return { gate, up, hidden: swiglu(gpu, gate, up) };
  }
  const [gate, up, hidden] = [0, 1, 2].map(() => gpu.allocate([rows, columns]));
  const tile: Tile = tileFor(rows, 2 * columns, { segments: experts, parts: 2 });
  const vectors = { a: terms % 4 === 0, b: terms % 4 === 0, c: columns % 4 === 0 };
  const run = { a: [x], reads: [], c: [gate, up, hidden], kinds, bound: experts };
  runRows(gpu, segments, run, bound => gatedKernel({ tile, bound, vectors, half }));
  return { gate, up, hidden };
}

/** The same of the gradients. */
function gateGradient(gpu: Gpu, dy: TensorInfo, d: TensorInfo[], gate: TensorInfo, up: TensorInfo, segments: Segments) {
  const [{ experts }, [rows, columns], terms] = [segments, gate.shape, dy.shape[1]];
  if (experts > mostBound(gpu, 1, 7)) {
    const dh = groupedRows(gpu, [dy], [d], segments, { transposed: false });
    const gradients = swigluGradient(gpu, gate, up, dh);
    gpu.release(dh);
    return gradients;
  }
  const [dgate, dup, y] = [0, 1, 2].map(() => gpu.allocate([rows, columns]));
  const tile = tileFor(rows, columns, { segments: experts });
  const vectors = { a: terms % 4 === 0, b: columns % 4 === 0, c: columns % 4 === 0 };
  const run = { a: [dy], reads: [gate, up], c: [dgate, dup, y], kinds: [d], bound: experts };
  runRows(gpu, segments, run, bound => gateGradientKernel({ tile, bound, vectors, half: false }));
  return { dgate, dup, y };
}

registerGpu<Attributes>('MoeSwigluNetwork', (gpu, inputs, { offsets_E1 }) =>
  withSegments(gpu, offsets_E1, segments => {
    const [g, u, d] = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, segments.experts));
    const half = inHalf(gpu);
    const { gate, up, hidden } = gated(gpu, inputs.x, [g, u], segments, half);
    const y = groupedRows(gpu, [hidden], [d], segments, { transposed: true, half });
    gpu.release(hidden);
    return [y, gate, up];
  }),
);

registerGpu<Attributes>('MoeSwigluNetworkGrad', (gpu, inputs, { offsets_E1 }) =>
  withSegments(gpu, offsets_E1, segments => {
    const { x, gate, up, gradient: dy } = inputs;
    const [g, u, d] = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, segments.experts));
    const { dgate, dup, y: hidden } = gateGradient(gpu, dy, d, gate, up, segments);
    const [dd] = groupedWeights(gpu, [dy], hidden, segments);
    gpu.release(hidden);
    const [dg, du] = groupedWeights(gpu, [dgate, dup], x, segments);
    const dx = groupedRows(gpu, [dgate, dup], [g, u], segments, { transposed: false });
    gpu.release(dgate, dup);
    return [dx, ...dg, ...du, ...dd];
  }),
);
