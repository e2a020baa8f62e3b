// Rotary positions (Su et al. 2021), half rotation: channels i and i + d/2 turn together by position · theta^(−2i/d).
// A rotation's gradient is the rotation backwards.
import type { RopeAttributes } from '../fast/rope.ts';
import '../fast/rope.ts';
import { hasKernel, runKernel, withGradient } from '../kernel.ts';
import { ropeReference } from '../reference/rope.ts';
import { checkShape } from '../shape.ts';
import type { Tensor, Tensor3D } from '../tf.ts';
import { tf } from '../tf.ts';

/** x_THd with each head's vector turned by its token's position. @throws Error when d is odd. */
export function rope(x_THd: Tensor3D, position_T: Int32Array, theta: number): Tensor3D {
  checkShape('rope: position', [position_T.length], [x_THd.shape[0]]);
  if (x_THd.shape[2] % 2 !== 0) throw new Error(`rope: ${x_THd.shape[2]} channels per head are not pairs`);
  if (!hasKernel('MoeRope')) return tf.tidy(() => ropeReference(x_THd, position_T, theta));
  const turn = (x: Tensor, direction: 1 | -1): Tensor3D => {
    const attributes: RopeAttributes = { position_T, theta, direction };
    return runKernel('MoeRope', { x }, attributes)[0] as Tensor3D;
  };
  return withGradient(
    [x_THd],
    () => ({ value: turn(x_THd, 1), saved: [] }),
    gradient => [turn(gradient, -1)],
  );
}
