// Host row movement. Kernel MoeGatherSum: { x: [N, D] }, { index_MR, width: R } -> y[m] = Σ_r x[index[m, r]], −1 skipped.
// Kernel MoeCombine: { y: [N, D], gate: [T, K] }, { inverse_TK } -> out[t] = Σ_j gate[t, j] y[inverse[t, j]].
// Kernel MoeCombineGrad: { y, gate, gradient } -> dy[inverse[t, j]] = gate[t, j] dout[t]; dgate[t, j] = dout[t] · y[…].

import { registerHostKernel } from '../host.ts';

export interface GatherSumAttributes {
  index_MR: Int32Array;
  /** R: how many rows are summed into one. */
  width: number;
}
export interface CombineAttributes {
  inverse_TK: Int32Array;
}

registerHostKernel<GatherSumAttributes>('MoeGatherSum', (memory, inputs, { index_MR, width }) => {
  const d = inputs.x.shape[1];
  const rows = index_MR.length / width;
  const output = memory.allocate([rows, d]);
  const x = memory.view(inputs.x);
  const y = memory.view(output);
  for (let m = 0; m < rows; m++) {
    const to = m * d;
    let started = false;
    for (let r = m * width; r < (m + 1) * width; r++) {
      if (index_MR[r] < 0) continue;
      const from = index_MR[r] * d;
      if (started) for (let i = 0; i < d; i++) y[to + i] += x[from + i];
      else for (let i = 0; i < d; i++) y[to + i] = x[from + i];
      started = true;
    }
    if (!started) y.fill(0, to, to + d);
  }
  return [output];
});

registerHostKernel<CombineAttributes>('MoeCombine', (memory, inputs, { inverse_TK }) => {
  const [tokens, k] = inputs.gate.shape;
  const d = inputs.y.shape[1];
  const output = memory.allocate([tokens, d]);
  const [y, gate, out] = [memory.view(inputs.y), memory.view(inputs.gate), memory.view(output).fill(0)];
  for (let slot = 0; slot < tokens * k; slot++) {
    if (inverse_TK[slot] < 0) continue;
    const to = Math.floor(slot / k) * d;
    const from = inverse_TK[slot] * d;
    const weight = gate[slot];
    for (let i = 0; i < d; i++) out[to + i] += weight * y[from + i];
  }
  return [output];
});

registerHostKernel<CombineAttributes>('MoeCombineGrad', (memory, inputs, { inverse_TK }) => {
  const [tokens, k] = inputs.gate.shape;
  const d = inputs.y.shape[1];
  const outputs = [memory.allocate(inputs.y.shape), memory.allocate([tokens, k])];
  const [y, gate, dout] = [inputs.y, inputs.gate, inputs.gradient].map(memory.view);
  const [dy, dgate] = outputs.map(tensor => memory.view(tensor).fill(0));
  for (let slot = 0; slot < tokens * k; slot++) {
    if (inverse_TK[slot] < 0) continue;
    const from = Math.floor(slot / k) * d;
    const to = inverse_TK[slot] * d;
    const weight = gate[slot];
    let dot = 0;
    for (let i = 0; i < d; i++) {
      dot += dout[from + i] * y[to + i];
      dy[to + i] += weight * dout[from + i];
    }
    dgate[slot] = dot;
  }
  return outputs;
});
