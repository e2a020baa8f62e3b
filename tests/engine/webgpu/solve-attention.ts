// Runs attention and its gradients on the GPU, in memory that held other numbers before, and compares with double
// precision.
import { expect } from 'vitest';
import { attention } from '../../../src/engine/ops/attention.ts';
import { type Tensor, type Tensor4D, tf } from '../../../src/engine/tf.ts';
import { type Answer, NAMES, type Problem, truth } from '../attention-problems.ts';
import { expectClose } from '../judge.ts';
import { poison } from './poison.ts';

type Shape = [number, number, number, number];

/** Output and gradients. The memory that they get is poisoned before; nothing may be left behind. */
export async function solve(p: Problem): Promise<Answer> {
  const { batch, queries, keys, heads, groups, d } = p;
  const qShape: Shape = [batch, queries, heads, d];
  const kShape: Shape = [batch, keys, groups, d];
  await poison([qShape, kShape, [batch, queries, heads, 2], [batch, queries, heads, 4]]);
  const before = tf.backend().numDataIds();
  const inputs = [tf.tensor(p.q, qShape), tf.tensor(p.k, kShape), tf.tensor(p.v, kShape)];
  const upstream = tf.tensor4d(p.upstream, qShape);
  const f = (...[q, k, v]: Tensor[]) =>
    attention(q as Tensor4D, k as Tensor4D, v as Tensor4D, p.querySegment, p.keySegment, p.window);
  const { value, grads } = tf.valueAndGrads(f)(inputs, upstream);
  const read = async (tensor: Tensor) => ((await tensor.data()) as Float32Array).slice();
  const [out, dq, dk, dv] = await Promise.all([value, ...grads].map(read));
  tf.dispose([...inputs, upstream, value, ...grads]);
  expect(tf.backend().numDataIds(), 'left behind').toBe(before);
  return { out, dq, dk, dv };
}

export async function expectTruth(p: Problem): Promise<void> {
  const [answer, want] = [await solve(p), truth(p)];
  for (const name of NAMES) expectClose(name, answer[name], want[name], name === 'out' ? 2e-6 : 1e-5);
}
