// SwiGLU networks over row segments on the C kernels, some experts at a time, so that what lies between two products is
// still in the cache when the next one reads it, and silu(gate) ⊙ up is computed again for the gradient, not kept.
//   h = silu(x Wgᵀ) ⊙ (x Wuᵀ);  y = h Wdᵀ.   dh = dy Wd; (dg, du) = swiglu'(dh); dx = dg Wg + du Wu; dW = d(out)ᵀ (in).
// Kernel MoeSwigluNetwork: { x: [N, D], g0…, u0…: [F, D], d0…: [D, F] }, { offsets_E1 } -> y, gate, up [N, F].
// Kernel MoeSwigluNetworkGrad: the same and { gate, up, gradient } -> dx, dg0…, du0…, dd0….

import { type KernelMemory, registerFast } from '../memory.ts';
import type { TensorInfo } from '../tf.ts';
import { forwardWeights, type GroupedLinearAttributes, weightsOf } from './grouped-linear.ts';

const WAVE_FLOATS = 1 << 20; // of one array between two products: 4 MiB

/** Experts first … end − 1, their rows, and offsets among those rows. */
interface Wave {
  first: number;
  end: number;
  start: number;
  rows: number;
  offsets: Int32Array;
}

/** Cuts the experts into runs of about WAVE_FLOATS; an expert is never cut. */
function wavesOf(offsets_E1: Int32Array, width: number): Wave[] {
  const waves: Wave[] = [];
  const experts = offsets_E1.length - 1;
  for (let first = 0, end = 0; first < experts; first = end) {
    const start = offsets_E1[first];
    do end++;
    while (end < experts && (offsets_E1[end] - start) * width < WAVE_FLOATS);
    const offsets = offsets_E1.slice(first, end + 1).map(offset => offset - start);
    waves.push({ first, end, start, rows: offsets_E1[end] - start, offsets });
  }
  return waves;
}

/** Memory for the largest wave's [rows, width], cut to each wave. */
function temporary(memory: KernelMemory, waves: Wave[], width: number) {
  const tensor = memory.allocate([Math.max(0, ...waves.map(({ rows }) => rows)) * width]);
  return { tensor, of: ({ rows }: Wave) => memory.view(tensor).subarray(0, rows * width) };
}

const rowsOf = (values: Float32Array, { start, rows }: Wave, width: number): Float32Array =>
  values.subarray(start * width, (start + rows) * width);

registerFast<GroupedLinearAttributes>('MoeSwigluNetwork', (memory, inputs, { offsets_E1 }) => {
  const experts = offsets_E1.length - 1;
  const [rows, D] = inputs.x.shape;
  const F = inputs.g0.shape[0];
  const outputs = [memory.allocate([rows, D]), memory.allocate([rows, F]), memory.allocate([rows, F])];
  const [x_ND, y_ND, gate_NF, up_NF] = [inputs.x, ...outputs].map(memory.view, memory);
  const [g, u, d] = ['g', 'u', 'd'].map(letter => forwardWeights(memory, weightsOf(inputs, letter, experts)));
  const waves = wavesOf(offsets_E1, F);
  const hidden = temporary(memory, waves, F);
  for (const wave of waves) {
    const { first, end, offsets } = wave;
    const [x, y] = [rowsOf(x_ND, wave, D), rowsOf(y_ND, wave, D)];
    const [gate, up, h] = [rowsOf(gate_NF, wave, F), rowsOf(up_NF, wave, F), hidden.of(wave)];
    memory.call(g.kernel, x, g.arrays.slice(first, end), offsets, gate, end - first, D, F);
    memory.call(u.kernel, x, u.arrays.slice(first, end), offsets, up, end - first, D, F);
    memory.call('swiglu', gate, up, h, wave.rows * F);
    memory.call(d.kernel, h, d.arrays.slice(first, end), offsets, y, end - first, F, D);
  }
  memory.release(hidden.tensor);
  return outputs;
});

registerFast<GroupedLinearAttributes>('MoeSwigluNetworkGrad', (memory, inputs, { offsets_E1 }) => {
  const experts = offsets_E1.length - 1;
  const F = inputs.gate.shape[1];
  const D = inputs.x.shape[1];
  const views = (tensors: TensorInfo[]): Float32Array[] => tensors.map(memory.view, memory);
  const weights = ['g', 'u', 'd'].map(letter => weightsOf(inputs, letter, experts));
  const gradients = weights.map(own => own.map(({ shape }) => memory.allocate(shape)));
  const dx = memory.allocate(inputs.x.shape);
  const [g, u, d] = weights.map(views);
  const [dg, du, dd] = gradients.map(views);
  const [x_ND, gate_NF, up_NF, dy_ND, dx_ND] = views([inputs.x, inputs.gate, inputs.up, inputs.gradient, dx]);
  const waves = wavesOf(offsets_E1, F);
  const temporaries = [0, 1, 2].map(() => temporary(memory, waves, F));
  for (const wave of waves) {
    const { first, end, offsets } = wave;
    const own = <T>(all: T[]): T[] => all.slice(first, end);
    const [x, dy, dxRows] = [x_ND, dy_ND, dx_ND].map(values => rowsOf(values, wave, D));
    const [gate, up] = [gate_NF, up_NF].map(values => rowsOf(values, wave, F));
    const [h, dh, dUp] = temporaries.map(({ of }) => of(wave));
    const count = end - first;
    memory.call('swiglu', gate, up, h, wave.rows * F);
    memory.call('grouped_gemm_weight', dy, h, offsets, own(dd), count, F, D);
    memory.call('grouped_gemm_input', dy, own(d), offsets, dh, count, F, D, false);
    const dGate = h; // its values have served
    memory.call('swiglu_gradient', gate, up, dh, dGate, dUp, wave.rows * F);
    memory.call('grouped_gemm_weight', dGate, x, offsets, own(dg), count, D, F);
    memory.call('grouped_gemm_weight', dUp, x, offsets, own(du), count, D, F);
    memory.call('grouped_gemm_input', dGate, own(g), offsets, dxRows, count, D, F, false);
    memory.call('grouped_gemm_input', dUp, own(u), offsets, dxRows, count, D, F, true);
  }
  memory.release(...temporaries.map(({ tensor }) => tensor));
  return [dx, ...gradients.flat()];
});
