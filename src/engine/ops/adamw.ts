// One AdamW step on one parameter (Loshchilov and Hutter 2019, algorithm 2, with torch.optim.AdamW's decay by ηλ).
import '../host/adamw.ts';
import { hasKernel, runKernel } from '../kernel.ts';
import type { AdamwSettings } from '../reference/adamw.ts';
import { adamwReference } from '../reference/adamw.ts';
import type { Tensor, Variable } from '../tf.ts';
import { tf } from '../tf.ts';

/** Updates parameter, m and v (all of one shape). `step` counts from 1. */
export function adamw(parameter: Variable, gradient: Tensor, m: Variable, v: Variable, hyper: AdamwSettings): void {
  tf.tidy(() => {
    const fresh = hasKernel('MoeAdamw')
      ? runKernel('MoeAdamw', { parameter, gradient, m, v }, hyper)
      : adamwReference(parameter, gradient, m, v, hyper);
    [parameter, m, v].forEach((variable, i) => {
      variable.assign(fresh[i]);
    });
  });
}
