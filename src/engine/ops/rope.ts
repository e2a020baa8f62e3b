// Rotary positions (Su et al. 2021), half rotation: channels i and i + d/2 turn together by position · frequency[i],
// in the paper theta^(−2i/d). A rotation's gradient is the rotation backwards.
import type { RopeAttributes } from '../fast/rope.ts';
import '../fast/rope.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { ropeReference } from '../reference/rope.ts';
import { checkShape } from '../shape.ts';
import type { Tensor, Tensor3D } from '../tf.ts';
import { tf } from '../tf.ts';

/** theta^(−2i/d) for the `half` = d/2 pairs of channels, in radians per position. */
export const rotaryFrequencies = (theta: number, half: number): Float64Array =>
  Float64Array.from({ length: half }, (_, i) => theta ** (-i / half));

/** x_THd with each head's vector turned by its token's position. `frequency`: theta, or one frequency for each pair of
 *  channels. @throws Error when d is odd, or the frequencies are not d/2. */
export function rope(x_THd: Tensor3D, position_T: Int32Array, frequency: number | Float64Array): Tensor3D {
  checkShape('rope: position', [position_T.length], [x_THd.shape[0]]);
  if (x_THd.shape[2] % 2 !== 0) throw new Error(`rope: ${x_THd.shape[2]} channels per head are not pairs`);
  const half = x_THd.shape[2] / 2;
  const frequency_h = typeof frequency === 'number' ? rotaryFrequencies(frequency, half) : frequency;
  checkShape('rope: frequencies', [frequency_h.length], [half]);
  if (!hasKernel('MoeRope')) return tf.tidy(() => ropeReference(x_THd, position_T, frequency_h));
  const turn = (x: Tensor, direction: 1 | -1): Tensor3D => {
    const attributes: RopeAttributes = { position_T, frequency_h, direction };
    return runKernel('MoeRope', { x }, attributes)[0] as Tensor3D;
  };
  return withGradient(
    [x_THd],
    () => ({ value: turn(x_THd, 1), saved: [] }),
    gradient => [turn(gradient, -1)],
  );
}
