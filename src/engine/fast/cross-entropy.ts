// Cross-entropy on the C kernels, one pass over the vocabulary and no softmax kept. With top = max_v l and
// share = 1 / Σ_v e^(l − top): loss = top − l[label] − ln share; dlogits = dy (e^(l − top) share − onehot); 0 at label −100.
// Kernel MoeCrossEntropy: { logits }, { label_T } -> loss_T, normaliser_T2 (top and share of each token).
// Kernel MoeCrossEntropyGrad: { logits, normaliser, gradient }, { label_T } -> dlogits.

import { registerFast } from '../memory.ts';

export interface CrossEntropyAttributes {
  label_T: Int32Array;
}

registerFast<CrossEntropyAttributes>('MoeCrossEntropy', (memory, { logits }, { label_T }) => {
  const [tokens, vocabulary] = logits.shape;
  const [loss, normaliser] = [memory.allocate([tokens]), memory.allocate([tokens, 2])];
  const [vl, vloss, vn] = [logits, loss, normaliser].map(memory.view, memory);
  memory.call('cross_entropy', vl, label_T, vloss, vn, tokens, vocabulary);
  return [loss, normaliser];
});

registerFast<CrossEntropyAttributes>('MoeCrossEntropyGrad', (memory, { logits, normaliser, gradient }, { label_T }) => {
  const [tokens, vocabulary] = logits.shape;
  const dlogits = memory.allocate(logits.shape);
  const [vl, vn, vdy, vd] = [logits, normaliser, gradient, dlogits].map(memory.view, memory);
  memory.call('cross_entropy_gradient', vl, label_T, vn, vdy, vd, tokens, vocabulary);
  return [dlogits];
});
