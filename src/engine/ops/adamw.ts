// One AdamW step on one parameter.
import type { AdamwSettings } from '../reference/adamw.ts';
import { adamwReference } from '../reference/adamw.ts';
import type { Tensor, Variable } from '../tf.ts';
import { tf } from '../tf.ts';

/** Updates parameter, m and v (all of one shape). `step` counts from 1. */
export function adamw(parameter: Variable, gradient: Tensor, m: Variable, v: Variable, hyper: AdamwSettings): void {
  tf.tidy(() => {
    const fresh = adamwReference(parameter, gradient, m, v, hyper);
    [parameter, m, v].forEach((variable, i) => {
      variable.assign(fresh[i]);
    });
  });
}
