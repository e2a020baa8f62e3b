// AdamW on the C kernels, in place: one pass that reads four arrays and writes three, allocates nothing, and scales the
// gradient on the way (clipping by norm). The formula is reference/adamw.ts's.

import type { KernelMemory } from '../memory.ts';
import type { AdamwSettings } from '../reference/adamw.ts';
import type { TensorInfo } from '../tf.ts';
import { tf } from '../tf.ts';

/** Changes parameter, m and v, none of which may share its values with another tensor. */
export function adamwInPlace(
  memory: KernelMemory,
  [parameter, gradient, m, v]: TensorInfo[],
  { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale = 1 }: AdamwSettings,
): void {
  const keep = 1 - learningRate * weightDecay;
  const rate = learningRate / (1 - beta1 ** step);
  const root = 1 / Math.sqrt(1 - beta2 ** step);
  const [theta, newM, newV] = [parameter, m, v].map(memory.own, memory);
  const size = tf.util.sizeFromShape(parameter.shape);
  const settings = [beta1, beta2, keep, rate, root, epsilon, gradientScale];
  memory.call('adamw', theta, memory.view(gradient), newM, newV, size, ...settings);
}
