// Plain-tfjs rotary positions (Su et al. 2021), half rotation as in GPT-NeoX, Llama and Qwen2:
// channel i < d/2 and channel i + d/2 turn together by the angle position · frequency[i].
import type { Tensor3D } from '../tf.ts';
import { tf } from '../tf.ts';

export function ropeReference(x_THd: Tensor3D, position_T: Int32Array, frequency_h: Float64Array): Tensor3D {
  const [tokens, , d] = x_THd.shape;
  const half = d / 2;
  const angle = (t: number, i: number) => position_T[t] * frequency_h[i];
  const table = (f: (angle: number) => number) =>
    tf.tensor3d(
      Float32Array.from({ length: tokens * half }, (_, n) => f(angle(Math.floor(n / half), n % half))),
      [tokens, 1, half],
    );
  const cos_T1h = table(Math.cos);
  const sin_T1h = table(Math.sin);
  const [first, second] = tf.split(x_THd, 2, 2);
  const turnedFirst = tf.sub(tf.mul(first, cos_T1h), tf.mul(second, sin_T1h));
  const turnedSecond = tf.add(tf.mul(second, cos_T1h), tf.mul(first, sin_T1h));
  return tf.concat([turnedFirst, turnedSecond], 2) as Tensor3D;
}
