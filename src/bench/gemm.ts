// Time of square fp32 matrix products in all transposes: N as it lies, T transposed; the first letter is the left side.
import { matmul } from '../engine/ops/matmul.ts';
import { type Tensor2D, tf } from '../engine/tf.ts';
import { normals } from './random.ts';
import { finished, type Repeats, summary, type Timing, timed } from './timing.ts';
import { productOperations } from './work.ts';

const TRANSPOSES = ['NN', 'NT', 'TN', 'TT'] as const;

/** One row per transposes; `name` is `1024 NT`. */
export async function timeProducts(n: number, seed: number, repeats: Repeats): Promise<Timing[]> {
  const draw = normals(`${seed}/matrices`);
  const [a, b] = [0, 1].map(() => tf.tensor2d(draw(n * n, 1), [n, n]));
  const timings: Timing[] = [];
  for (const transposes of TRANSPOSES) {
    const ms = await timeProduct(a, b, transposes, repeats);
    timings.push(summary(`${n} ${transposes}`, ms, productOperations(n)));
  }
  tf.dispose([a, b]);
  return timings;
}

/** The right side is a new tensor each time, so that nothing prepared for it in an earlier run serves again. */
async function timeProduct(a: Tensor2D, b: Tensor2D, transposes: string, repeats: Repeats): Promise<number[]> {
  const [left, right] = [...transposes].map(letter => letter === 'T');
  let fresh = tf.add<Tensor2D>(b, 0);
  const renew = (): void => {
    fresh.dispose();
    fresh = tf.add(b, 0);
  };
  const ms = await timed(
    async () => {
      const c = matmul(a, fresh, left, right);
      await finished(c);
      c.dispose();
    },
    repeats,
    renew,
  );
  fresh.dispose();
  return ms;
}
