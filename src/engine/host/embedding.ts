// Host embedding. Forward copies row id_T[t] of w_VD; the gradient adds row t into dw[id_T[t]], in token order.
// Kernels MoeEmbedding: { weight }, { id_T } -> [T, D]; MoeEmbeddingGrad: { gradient }, { id_T, vocabulary } -> [V, D].

import { registerHostKernel } from '../host.ts';

export interface EmbeddingAttributes {
  id_T: Int32Array;
  vocabulary: number;
}

registerHostKernel<EmbeddingAttributes>('MoeEmbedding', (memory, { weight }, { id_T }) => {
  const d = weight.shape[1];
  const output = memory.allocate([id_T.length, d]);
  const w = memory.view(weight);
  const y = memory.view(output);
  for (let t = 0, to = 0; t < id_T.length; t++) {
    const from = id_T[t] * d;
    for (let i = from; i < from + d; i++) y[to++] = w[i];
  }
  return [output];
});

registerHostKernel<EmbeddingAttributes>('MoeEmbeddingGrad', (memory, { gradient }, { id_T, vocabulary }) => {
  const d = gradient.shape[1];
  const output = memory.allocate([vocabulary, d]);
  const dy = memory.view(gradient);
  const dw = memory.view(output).fill(0);
  for (let t = 0, from = 0; t < id_T.length; t++) {
    const to = id_T[t] * d;
    for (let i = to; i < to + d; i++) dw[i] += dy[from++];
  }
  return [output];
});
