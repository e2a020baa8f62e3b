// Host SwiGLU gate. y = g σ(g) ⊙ u; du = dy ⊙ g σ(g); dg = dy ⊙ u ⊙ σ(g)(1 + g(1 − σ(g))).
// The sigmoid is the backend's own. Kernels MoeSwiglu: { gate, up } -> y; MoeSwigluGrad: { gate, up, gradient } -> dg, du.

import { registerHostKernel } from '../host.ts';

registerHostKernel('MoeSwiglu', (memory, { gate, up }) => {
  const sigmoid = memory.run('Sigmoid', { x: gate });
  const output = memory.allocate(gate.shape);
  const [g, u, s, y] = [memory.view(gate), memory.view(up), memory.view(sigmoid), memory.view(output)];
  for (let i = 0; i < y.length; i++) y[i] = g[i] * s[i] * u[i];
  memory.release(sigmoid);
  return [output];
});

registerHostKernel('MoeSwigluGrad', (memory, { gate, up, gradient }) => {
  const sigmoid = memory.run('Sigmoid', { x: gate });
  const outputs = [memory.allocate(gate.shape), memory.allocate(up.shape)];
  const [g, u, dy, s] = [gate, up, gradient, sigmoid].map(memory.view);
  const [dg, du] = outputs.map(memory.view);
  for (let i = 0; i < dy.length; i++) {
    const silu = g[i] * s[i];
    du[i] = dy[i] * silu;
    dg[i] = dy[i] * u[i] * (s[i] + silu * (1 - s[i]));
  }
  memory.release(sigmoid);
  return outputs;
});
