// Rows of each expert apart, and together again: SplitV and Concat. An empty segment is a matrix of no rows.

import type { Tensor, Tensor2D } from '../tf.ts';
import { tf } from '../tf.ts';

/** Rows offsets[e] … offsets[e+1] − 1 of x [N, D] for each e. */
export const segmentsOf = (x: Tensor, offsets_E1: Int32Array): Tensor2D[] =>
  offsets_E1.length === 2 ? [x as Tensor2D] : tf.split(x as Tensor2D, [...sizesOf(offsets_E1)]);

const sizesOf = (offsets_E1: Int32Array): Int32Array => offsets_E1.subarray(1).map((end, e) => end - offsets_E1[e]);

/** The segments, one under the other. */
export const joined = (segments: Tensor2D[]): Tensor2D => (segments.length === 1 ? segments[0] : tf.concat(segments));

/** The weights of E experts: the inputs named by `letter` and their number. */
export const weightsOf = (inputs: Record<string, Tensor>, letter: string, experts: number): Tensor2D[] =>
  Array.from({ length: experts }, (_, e) => inputs[`${letter}${e}`] as Tensor2D);

/** x wᵀ, segment by segment. */
export const forwardEach = (x: Tensor2D[], w: Tensor2D[]): Tensor2D[] =>
  x.map((own, e) => tf.matMul(own, w[e], false, true));

/** dy w, segment by segment: the gradient of x in x wᵀ. */
export const inputGradientEach = (dy: Tensor2D[], w: Tensor2D[]): Tensor2D[] =>
  dy.map((own, e) => tf.matMul(own, w[e]));

/** dyᵀ x, segment by segment: the gradient of w in x wᵀ, zeros where no row is. */
export const weightGradientEach = (dy: Tensor2D[], x: Tensor2D[]): Tensor2D[] =>
  dy.map((own, e) => tf.matMul(own, x[e], true, false));
