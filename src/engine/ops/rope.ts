// Rotary positions, half rotation.
import { ropeReference } from '../reference/rope.ts';
import type { Tensor3D } from '../tf.ts';

export function rope(x_THd: Tensor3D, position_T: Int32Array, theta: number): Tensor3D {
  return ropeReference(x_THd, position_T, theta);
}
