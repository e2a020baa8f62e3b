// Host SwiGLU gate. y = g σ(g) ⊙ u; du = dy ⊙ g σ(g); dg = dy ⊙ u ⊙ (σ(g) + g σ(g)(1 − σ(g))).
// Put together from the backend's own vectorised kernels: on wasm they are many times faster than loops in JavaScript.
// Kernels MoeSwiglu: { gate, up } -> y; MoeSwigluGrad: { gate, up, gradient } -> dg, du.

import type { HostMemory } from '../host.ts';
import { registerHostKernel } from '../host.ts';
import type { TensorInfo } from '../tf.ts';

const multiply = (memory: HostMemory, a: TensorInfo, b: TensorInfo): TensorInfo => memory.run('Multiply', { a, b });

registerHostKernel('MoeSwiglu', (memory, { gate, up }) => {
  const sigmoid = memory.run('Sigmoid', { x: gate });
  const silu = multiply(memory, gate, sigmoid);
  const y = multiply(memory, silu, up);
  memory.release(sigmoid, silu);
  return [y];
});

registerHostKernel('MoeSwigluGrad', (memory, { gate, up, gradient }) => {
  const sigmoid = memory.run('Sigmoid', { x: gate });
  const silu = multiply(memory, gate, sigmoid);
  const square = multiply(memory, silu, sigmoid);
  const rise = memory.run('Sub', { a: silu, b: square });
  const slope = memory.run('Add', { a: sigmoid, b: rise });
  const upstream = multiply(memory, gradient, up);
  const dGate = multiply(memory, upstream, slope);
  const dUp = multiply(memory, gradient, silu);
  memory.release(sigmoid, silu, square, rise, slope, upstream);
  return [dGate, dUp];
});
