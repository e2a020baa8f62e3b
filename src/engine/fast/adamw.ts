// AdamW on the C kernels, in place: one pass that reads four arrays and writes three, allocates nothing, and scales the
// gradient on the way (clipping by norm). The formula is reference/adamw.ts's.
// Kernel MoeAdamw: { parameter, gradient, m, v }, AdamwSettings -> nothing; changes all but the gradient.

import { registerFast } from '../memory.ts';
import type { AdamwSettings } from '../reference/adamw.ts';
import { tf } from '../tf.ts';

registerFast<AdamwSettings>('MoeAdamw', (memory, { parameter, gradient, m, v }, settings) => {
  const { beta1, beta2, keep, rate, root, epsilon, scale } = factorsOf(settings);
  const [theta, newM, newV] = [parameter, m, v].map(memory.own, memory);
  const size = tf.util.sizeFromShape(parameter.shape);
  const factors = [beta1, beta2, keep, rate, root, epsilon, scale];
  memory.call('adamw', theta, memory.view(gradient), newM, newV, size, ...factors);
  return [];
});

/** What the kernels multiply by, in double precision: θ ← θ keep − rate m / (√v · root + ε), with rest = 1 − β. */
export function factorsOf({
  learningRate,
  beta1,
  beta2,
  epsilon,
  weightDecay,
  step,
  gradientScale = 1,
}: AdamwSettings): Record<
  'beta1' | 'rest1' | 'beta2' | 'rest2' | 'keep' | 'rate' | 'root' | 'epsilon' | 'scale',
  number
> {
  return {
    beta1,
    rest1: 1 - beta1,
    beta2,
    rest2: 1 - beta2,
    keep: 1 - learningRate * weightDecay,
    rate: learningRate / (1 - beta1 ** step),
    root: 1 / Math.sqrt(1 - beta2 ** step),
    epsilon,
    scale: gradientScale,
  };
}
