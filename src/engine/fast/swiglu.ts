// SwiGLU gate on the C kernels. y = g σ(g) ⊙ u; du = dy ⊙ g σ(g); dg = dy ⊙ u ⊙ σ(g) (1 + g (1 − σ(g))).
// Kernels MoeSwiglu: { gate, up } -> y; MoeSwigluGrad: { gate, up, gradient } -> dg, du.

import { registerFast } from '../memory.ts';
import { tf } from '../tf.ts';

registerFast('MoeSwiglu', (memory, { gate, up }) => {
  const y = memory.allocate(gate.shape);
  const [vg, vu, vy] = [gate, up, y].map(memory.view, memory);
  memory.call('swiglu', vg, vu, vy, tf.util.sizeFromShape(gate.shape));
  return [y];
});

registerFast('MoeSwigluGrad', (memory, { gate, up, gradient }) => {
  const [dGate, dUp] = [memory.allocate(gate.shape), memory.allocate(gate.shape)];
  const [vg, vu, vdy, vdg, vdu] = [gate, up, gradient, dGate, dUp].map(memory.view, memory);
  memory.call('swiglu_gradient', vg, vu, vdy, vdg, vdu, tf.util.sizeFromShape(gate.shape));
  return [dGate, dUp];
});
