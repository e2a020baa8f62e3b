// Rotary positions for TensorFlow. Kernel as in fast/rope.ts; the tables of cosines and sines are made once for all layers.

import type { RopeAttributes } from '../fast/rope.ts';
import { keepLatest } from '../rope-tables.ts';
import { type Tensor3D, tf } from '../tf.ts';
import { registerTensorflow } from './kernel.ts';

registerTensorflow<RopeAttributes>('MoeRope', ({ x }, { position_T, frequency_h, direction }) => {
  const [tokens, , d] = x.shape;
  const { cosine, sine } = turnsOf(position_T, frequency_h);
  const [cosine_T1h, sine_T1h] = [cosine, sine].map(table => tf.tensor3d(table, [tokens, 1, d / 2]));
  const [first, second] = tf.split(x as Tensor3D, 2, 2);
  const turned = direction === 1 ? sine_T1h : tf.neg(sine_T1h);
  const newFirst = tf.sub(tf.mul(first, cosine_T1h), tf.mul(second, turned));
  const newSecond = tf.add(tf.mul(second, cosine_T1h), tf.mul(first, turned));
  return [tf.concat([newFirst, newSecond], 2)];
});

interface Turns {
  cosine: Float32Array;
  sine: Float32Array;
}

const turnsOf = keepLatest(makeTurns);

function makeTurns(position_T: Int32Array, frequency_h: Float64Array): Turns {
  const half = frequency_h.length;
  const angle = (n: number): number => position_T[Math.floor(n / half)] * frequency_h[n % half];
  const size = { length: position_T.length * half };
  return {
    cosine: Float32Array.from(size, (_, n) => Math.cos(angle(n))),
    sine: Float32Array.from(size, (_, n) => Math.sin(angle(n))),
  };
}
