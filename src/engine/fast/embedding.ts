// Embedding on the C kernels. Forward copies row id_T[t] of w_VD; the gradient sums dy[t] into dw[id_T[t]], in token order.
// Kernels MoeEmbedding: { weight }, { id_T } -> [T, D]; MoeEmbeddingGrad: { gradient }, { id_T, vocabulary } -> [V, D].

import { registerFast } from '../memory.ts';

export interface EmbeddingAttributes {
  id_T: Int32Array;
  vocabulary: number;
}

registerFast<EmbeddingAttributes>('MoeEmbedding', (memory, { weight }, { id_T }) => {
  const d = weight.shape[1];
  const y = memory.allocate([id_T.length, d]);
  const halves = memory.halves(weight);
  const kernel = halves ? 'embedding_half' : 'embedding';
  memory.call(kernel, halves ?? memory.view(weight), id_T, memory.view(y), id_T.length, d);
  return [y];
});

registerFast<EmbeddingAttributes>('MoeEmbeddingGrad', (memory, { gradient }, { id_T, vocabulary }) => {
  const d = gradient.shape[1];
  const dw = memory.allocate([vocabulary, d]);
  memory.call('embedding_gradient', memory.view(gradient), id_T, memory.view(dw), id_T.length, vocabulary, d);
  return [dw];
});
