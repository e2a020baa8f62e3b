// Rotary positions in WGSL: far positions, which leave no digits for an angle in fp32, every way to hold pairs of
// channels, and gradients, against double precision, in memory that holds other numbers before.
import { beforeAll, describe, expect, it } from 'vitest';
import { rope } from '../../../src/engine/ops/rope.ts';
import { type Tensor3D, tf } from '../../../src/engine/tf.ts';
import { use, webgpuHere } from '../backends.ts';
import { rope64 } from '../float64.ts';
import { expectClose, generator } from '../judge.ts';
import { poison } from './poison.ts';

const read = async (tensor: Tensor3D) => ((await tensor.data()) as Float32Array).slice();

/** x and y of `rope`, and the gradient of x where that of y is `x` itself. */
async function turn(position: number[], heads: number, d: number, theta: number) {
  const shape: [number, number, number] = [position.length, heads, d];
  const random = generator(5);
  const values = Float32Array.from({ length: position.length * heads * d }, random);
  await poison([shape]);
  const x = tf.tensor3d(values, shape);
  const { value, grad } = tf.valueAndGrad((x: Tensor3D) => rope(x, Int32Array.from(position), theta))(x, x);
  const [y, gradient] = await Promise.all([value as Tensor3D, grad].map(read));
  tf.dispose([x, value, grad]);
  return { values: Float64Array.from(values), y, gradient };
}

describe.runIf(webgpuHere.works)('on webgpu', () => {
  beforeAll(async () => void (await use('webgpu')));

  it('by hand: 11 radians, three and a half times π and 0.0044, take (1, 2) to about (2, −1)', async () => {
    const x = tf.tensor3d([1, 2], [1, 1, 2]);
    const y = tf.tidy(() => rope(x, Int32Array.of(11), 1e4));
    expectClose('y', await read(y), [2.00440611, -0.99113881], 1e-7);
    tf.dispose([x, y]);
  });

  it.each([
    [1, 2],
    [3, 6],
    [2, 8],
    [14, 64],
    [2, 10],
    [3, 128],
  ])('%i heads of %i channels, from the first position to the millionth', async (heads, d) => {
    for (const theta of [1e4, 1e6, 100, 0.5]) {
      const position = [0, 1, 2, 3, 100, 511, 4096, 32767, 131071, 999_999, -1, -77];
      const { values, y, gradient } = await turn(position, heads, d, theta);
      const back = position.map(p => -p);
      expectClose('y', y, rope64(values, heads, d, position, theta), 3e-7);
      expectClose('gradient', gradient, rope64(values, heads, d, back, theta), 3e-7);
    }
  });

  it('the whole circle', async () => {
    const position = [...Array(700).keys()];
    const { values, y } = await turn(position, 1, 2, 1);
    expectClose('y', y, rope64(values, 1, 2, position, 1), 3e-7);
  });

  it('position 0 changes no bit, and the same bits come on repeat', async () => {
    const { values, y } = await turn([0, 0], 2, 8, 1e4);
    expect(y).toEqual(Float32Array.from(values));
    const [one, other] = [await turn([5, 9999], 2, 8, 1e4), await turn([5, 9999], 2, 8, 1e4)];
    expect(other.y).toEqual(one.y);
  });

  it('no tokens', async () => {
    const { y } = await turn([], 2, 8, 1e4);
    expect(y.length).toBe(0);
  });
});
