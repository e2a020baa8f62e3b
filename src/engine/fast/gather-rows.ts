// Row movement on the C kernels. MoeGatherSum: { x: [N, D] }, { index_MR, width: R } -> y[m] = Σ_r x[index[m, r]], −1 skipped.
// Kernel MoeCombine: { y: [N, D], gate: [T, K] }, { inverse_TK } -> out[t] = Σ_j gate[t, j] y[inverse[t, j]].
// Kernel MoeCombineGrad: { y, gate, gradient } -> dy[inverse[t, j]] = gate[t, j] dout[t]; dgate[t, j] = dout[t] · y[…].

import { registerFast } from '../memory.ts';

export interface GatherSumAttributes {
  index_MR: Int32Array;
  /** R: how many rows are summed into one. */
  width: number;
}
export interface CombineAttributes {
  inverse_TK: Int32Array;
}

registerFast<GatherSumAttributes>('MoeGatherSum', (memory, { x }, { index_MR, width }) => {
  const d = x.shape[1];
  const rows = index_MR.length / width;
  const y = memory.allocate([rows, d]);
  memory.call('gather_sum', memory.view(x), index_MR, memory.view(y), rows, width, d);
  return [y];
});

registerFast<CombineAttributes>('MoeCombine', (memory, { y, gate }, { inverse_TK }) => {
  const [tokens, k] = gate.shape;
  const d = y.shape[1];
  const out = memory.allocate([tokens, d]);
  memory.call('combine', memory.view(y), memory.view(gate), inverse_TK, memory.view(out), tokens, k, d);
  return [out];
});

registerFast<CombineAttributes>('MoeCombineGrad', (memory, { y, gate, gradient }, { inverse_TK }) => {
  const [tokens, k] = gate.shape;
  const [rows, d] = y.shape;
  const [dy, dgate] = [memory.allocate(y.shape), memory.allocate(gate.shape)];
  const [vy, vg, vdout, vdy, vdg] = [y, gate, gradient, dy, dgate].map(memory.view, memory);
  memory.call('combine_gradient', vy, vg, vdout, inverse_TK, vdy, vdg, tokens, k, d, rows);
  return [dy, dgate];
});
