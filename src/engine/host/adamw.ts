// Host AdamW and sum of squares. Kernel MoeAdamw: { parameter, gradient, m, v }, settings -> new parameter, m, v.
// The new values are new tensors: the matrix product may hold a packed copy of the old ones.
// Kernel MoeSumOfSquares: { x } -> scalar, four interleaved sums in double precision.

import { registerHostKernel } from '../host.ts';
import type { AdamwSettings } from '../reference/adamw.ts';

registerHostKernel<AdamwSettings>('MoeAdamw', (memory, inputs, settings) => {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = settings;
  const outputs = [0, 1, 2].map(() => memory.allocate(inputs.parameter.shape));
  const [theta, g, m, v] = [inputs.parameter, inputs.gradient, inputs.m, inputs.v].map(memory.view);
  const [newTheta, newM, newV] = outputs.map(memory.view);
  const keep = 1 - learningRate * weightDecay;
  const stepSize = learningRate / (1 - beta1 ** step);
  const inverseRoot = 1 / Math.sqrt(1 - beta2 ** step);
  for (let i = 0; i < theta.length; i++) {
    const mean = beta1 * m[i] + (1 - beta1) * g[i];
    const square = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
    newM[i] = mean;
    newV[i] = square;
    newTheta[i] = theta[i] * keep - (stepSize * mean) / (Math.sqrt(square) * inverseRoot + epsilon);
  }
  return outputs;
});

registerHostKernel('MoeSumOfSquares', (memory, inputs) => {
  const output = memory.allocate([]);
  const x = memory.view(inputs.x);
  let [a, b, c, d] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < x.length; i += 4) {
    a += x[i] * x[i];
    b += x[i + 1] * x[i + 1];
    c += x[i + 2] * x[i + 2];
    d += x[i + 3] * x[i + 3];
  }
  for (; i < x.length; i++) a += x[i] * x[i];
  memory.view(output)[0] = a + b + (c + d);
  return [output];
});
