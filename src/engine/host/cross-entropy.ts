// Host cross-entropy on the backend's own softmax p. loss = −log p[label]; dlogits = dy (p − onehot); 0 at label −100.
// Kernels MoeCrossEntropy: { logits }, { label_T } -> loss_T, p_TV; MoeCrossEntropyGrad: { softmax, gradient } -> dlogits.

import { registerHostKernel } from '../host.ts';

/** The label of a token that does not count. */
export const IGNORED = -100;

export interface CrossEntropyAttributes {
  label_T: Int32Array;
}

const SMALLEST = 1e-30; // below it p has too few bits left to take its logarithm

registerHostKernel<CrossEntropyAttributes>('MoeCrossEntropy', (memory, inputs, { label_T }) => {
  const [tokens, vocabulary] = inputs.logits.shape;
  const lossOut = memory.allocate([tokens]);
  const softmax = memory.run('Softmax', { logits: inputs.logits }, { dim: 1 });
  const [logits, p, loss] = [memory.view(inputs.logits), memory.view(softmax), memory.view(lossOut)];
  for (let t = 0; t < tokens; t++) {
    const label = label_T[t];
    const share = p[t * vocabulary + label];
    if (label === IGNORED) loss[t] = 0;
    else if (share > SMALLEST) loss[t] = -Math.log(share);
    else loss[t] = logSumExp(logits, t * vocabulary, vocabulary) - logits[t * vocabulary + label];
  }
  return [lossOut, softmax];
});

function logSumExp(logits: Float32Array, start: number, vocabulary: number): number {
  let top = -Infinity;
  for (let i = start; i < start + vocabulary; i++) top = Math.max(top, logits[i]);
  let sum = 0;
  for (let i = start; i < start + vocabulary; i++) sum += Math.exp(logits[i] - top);
  return top + Math.log(sum);
}

registerHostKernel<CrossEntropyAttributes>('MoeCrossEntropyGrad', (memory, inputs, { label_T }) => {
  const [tokens, vocabulary] = inputs.softmax.shape;
  const output = memory.allocate([tokens, vocabulary]);
  const [p, dy, dlogits] = [memory.view(inputs.softmax), memory.view(inputs.gradient), memory.view(output)];
  for (let t = 0; t < tokens; t++) {
    const start = t * vocabulary;
    const end = start + vocabulary;
    if (label_T[t] === IGNORED) {
      dlogits.fill(0, start, end);
      continue;
    }
    const scale = dy[t];
    for (let i = start; i < end; i++) dlogits[i] = p[i] * scale;
    dlogits[start + label_T[t]] -= scale;
  }
  return [output];
});
