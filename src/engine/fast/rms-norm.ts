// RMSNorm on the C kernels. y = w ⊙ x r with r = 1 / √(mean(x²) + ε).
// dx = r (w ⊙ dy) − x r³ / D · Σ_d w dy x; dw = Σ_t dy ⊙ x r.
// Kernels MoeRmsNorm: { x, weight } -> y; MoeRmsNormGrad: { x, weight, gradient } -> dx, dweight. Both { epsilon }.

import { registerFast } from '../memory.ts';

export interface RmsNormAttributes {
  epsilon: number;
}

registerFast<RmsNormAttributes>('MoeRmsNorm', (memory, { x, weight }, { epsilon }) => {
  const [tokens, d] = x.shape;
  const y = memory.allocate(x.shape);
  memory.call('rms_norm', memory.view(x), memory.view(weight), memory.view(y), tokens, d, epsilon);
  return [y];
});

registerFast<RmsNormAttributes>('MoeRmsNormGrad', (memory, { x, weight, gradient }, { epsilon }) => {
  const [tokens, d] = x.shape;
  const [dx, dw] = [memory.allocate(x.shape), memory.allocate([d])];
  const [vx, vw, vdy, vdx, vdw] = [x, weight, gradient, dx, dw].map(memory.view, memory);
  memory.call('rms_norm_gradient', vx, vw, vdy, vdx, vdw, tokens, d, epsilon);
  return [dx, dw];
});
