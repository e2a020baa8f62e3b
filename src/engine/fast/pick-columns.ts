// Picked columns on the C kernels. y[t, j] = x[t, index[t, j]]; dx[t, e] = Σ_j dy[t, j] over the j with index e.
// Kernels MoePickColumns: { x: [T, E] }, { index_TK } -> [T, K]; MoePickColumnsGrad: { gradient }, { index_TK, width }.

import { registerFast } from '../memory.ts';

export interface PickAttributes {
  index_TK: Int32Array;
}

registerFast<PickAttributes>('MoePickColumns', (memory, { x }, { index_TK }) => {
  const [rows, width] = x.shape;
  const picks = rows === 0 ? 0 : index_TK.length / rows;
  const y = memory.allocate([rows, picks]);
  memory.call('pick_columns', memory.view(x), index_TK, memory.view(y), rows, width, picks);
  return [y];
});

registerFast<PickAttributes & { width: number }>('MoePickColumnsGrad', (memory, { gradient }, { index_TK, width }) => {
  const [rows, picks] = gradient.shape;
  const dx = memory.allocate([rows, width]);
  memory.call('pick_columns_gradient', memory.view(gradient), index_TK, memory.view(dx), rows, width, picks);
  return [dx];
});
