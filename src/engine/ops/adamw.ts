// One AdamW step on one parameter (Loshchilov and Hutter 2019, algorithm 2, with torch.optim.AdamW's decay by ηλ).
import '../fast/adamw.ts';
import { hasKernel, runKernel } from '../kernel.ts';
import type { AdamwSettings } from '../reference/adamw.ts';
import { adamwReference } from '../reference/adamw.ts';
import type { Tensor, Variable } from '../tf.ts';
import { tf } from '../tf.ts';

/** Updates parameter, m and v (all of one shape). `step` counts from 1. Clones that were made of them keep the old values. */
export function adamw(parameter: Variable, gradient: Tensor, m: Variable, v: Variable, hyper: AdamwSettings): void {
  const changed = [parameter, m, v];
  if (hasKernel('MoeAdamw')) {
    changed.forEach(separate);
    runKernel('MoeAdamw', { parameter, gradient, m, v }, hyper);
    return;
  }
  tf.tidy(() => {
    const fresh = adamwReference(parameter, gradient, m, v, hyper);
    changed.forEach((variable, i) => {
      variable.assign(fresh[i]);
    });
  });
}

/** Gives the variable values of its own when a clone shares them. */
function separate(variable: Variable): void {
  if (tf.backend().refCount(variable.dataId) > 1) tf.tidy(() => variable.assign(tf.mul(variable, 1)));
}
