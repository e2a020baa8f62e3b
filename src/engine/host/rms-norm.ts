// Host RMSNorm. y = w ⊙ x r with r = 1 / √(mean(x²) + ε).
// dx = r (w ⊙ dy) − x r³ / D · Σ_d w dy x; dw = Σ_t dy ⊙ x r. Sums run in double precision, in index order.
// Kernels MoeRmsNorm: { x, weight } -> y; MoeRmsNormGrad: { x, weight, gradient } -> dx, dweight. Both { epsilon }.

import { registerHostKernel } from '../host.ts';

export interface RmsNormAttributes {
  epsilon: number;
}

function inverseRms(x: Float32Array, start: number, d: number, epsilon: number): number {
  let squares = 0;
  for (let i = start; i < start + d; i++) squares += x[i] * x[i];
  return 1 / Math.sqrt(squares / d + epsilon);
}

registerHostKernel<RmsNormAttributes>('MoeRmsNorm', (memory, inputs, { epsilon }) => {
  const [tokens, d] = inputs.x.shape;
  const output = memory.allocate([tokens, d]);
  const [x, w, y] = [memory.view(inputs.x), memory.view(inputs.weight), memory.view(output)];
  for (let t = 0; t < tokens; t++) {
    const start = t * d;
    const r = inverseRms(x, start, d, epsilon);
    for (let i = 0; i < d; i++) y[start + i] = x[start + i] * r * w[i];
  }
  return [output];
});

registerHostKernel<RmsNormAttributes>('MoeRmsNormGrad', (memory, inputs, { epsilon }) => {
  const [tokens, d] = inputs.x.shape;
  const dxOut = memory.allocate([tokens, d]);
  const dwOut = memory.allocate([d]);
  const [x, w, dy] = [memory.view(inputs.x), memory.view(inputs.weight), memory.view(inputs.gradient)];
  const dx = memory.view(dxOut);
  const dw = new Float64Array(d);
  for (let t = 0; t < tokens; t++) {
    const start = t * d;
    const r = inverseRms(x, start, d, epsilon);
    let projection = 0;
    for (let i = 0; i < d; i++) {
      const product = dy[start + i] * x[start + i];
      dw[i] += product * r;
      projection += product * w[i];
    }
    const pull = (projection * r * r * r) / d;
    for (let i = 0; i < d; i++) dx[start + i] = r * w[i] * dy[start + i] - pull * x[start + i];
  }
  memory.view(dwOut).set(dw);
  return [dxOut, dwOut];
});
