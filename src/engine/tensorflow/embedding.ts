// Embedding for TensorFlow: a gather. The gradient sums the rows of each id without a scatter: rows are put in order of their
// ids, then neighbours of one id are added in pairs until one row per id is left, in log₂(most repeats) rounds of gathers.
// Kernels as in fast/embedding.ts.

import type { EmbeddingAttributes } from '../fast/embedding.ts';
import { type Tensor2D, tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';
import { takeRows } from './rows.ts';

registerTensorflow<EmbeddingAttributes>('MoeEmbedding', ({ weight }, { id_T }) => [takeRows(weight, id_T)]);

registerTensorflow<EmbeddingAttributes>('MoeEmbeddingGrad', ({ gradient }, { id_T, vocabulary }) => {
  const { token_T, count_U, group_V } = groupById(id_T, vocabulary);
  let rows = takeRows(gradient, token_T);
  let count = count_U;
  while (count.some(repeats => repeats > 1)) {
    const pairs = pairUp(count);
    rows = tf.add(takeRows(rows, pairs.left), takeRows(rows, pairs.right)) as Tensor2D;
    count = count.map(half);
  }
  return [takeRows(rows, group_V)];
});

const half = (repeats: number): number => (repeats + 1) >> 1;

/** Tokens in order of their ids, how many each of the U ids that occur has, and which of the U an id is, or −1. */
function groupById(id_T: Int32Array, vocabulary: number) {
  const count_V = new Int32Array(vocabulary);
  for (const id of id_T) count_V[id]++;
  let start = 0;
  let groups = 0;
  const group_V = count_V.map(count => (count > 0 ? groups++ : -1));
  const next_V = count_V.map(count => {
    start += count;
    return start - count;
  });
  const token_T = new Int32Array(id_T.length);
  id_T.forEach((id, token) => {
    token_T[next_V[id]++] = token;
  });
  return { token_T, count_U: count_V.filter(count => count > 0), group_V };
}

/** The two rows of each pair, groups of `count` rows one after the other; a last odd row is paired with nothing, −1. */
function pairUp(count_U: Int32Array): { left: Int32Array; right: Int32Array } {
  const pairs = count_U.reduce((sum, count) => sum + half(count), 0);
  const [left, right] = [new Int32Array(pairs), new Int32Array(pairs).fill(-1)];
  let row = 0;
  let pair = 0;
  for (const count of count_U) {
    for (let i = 0; i < count; i += 2, pair++) {
      left[pair] = row + i;
      if (i + 1 < count) right[pair] = row + i + 1;
    }
    row += count;
  }
  return { left, right };
}
