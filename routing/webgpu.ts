// Routing on a GPU: the choice of experts, and their loads, without the host.

import type { Integers } from '../src/engine/integers.ts';
import { hasKernel, runKernel } from '../src/engine/kernel.ts';
import type { Tensor, Tensor1D, Tensor2D } from '../src/engine/tf.ts';

export interface GpuRouteOptions {
  k: number;
  /** Expert of each token's language, −1 unknown; null when languages play no part. */
  languageExpert_T: Integers | null;
  /** Hybrid-k: the language expert is always among the k. */
  forced: boolean;
  /** Added to the language expert's logit before the softmax; 0 for none. */
  hintBias: number;
  /** Added to the scores for the choice alone. */
  selectionBias_E: Float32Array | null;
}

/** Whether the running backend chooses experts by kernels of its own. */
export const choosesOnGpu = (): boolean => hasKernel('MoeRoute');

/** Softmax of logits_TE and the choice that routing/hybrid-k.ts makes from it. Differentiable in the probabilities. */
export function routeOnGpu(
  logits_TE: Tensor2D,
  options: GpuRouteOptions,
): { probabilities_TE: Tensor2D; expertId_TK: Tensor } {
  const [probabilities_TE, expertId_TK] = runKernel('MoeRoute', { logits: logits_TE }, options);
  return { probabilities_TE: probabilities_TE as Tensor2D, expertId_TK };
}

/** Plain top-k of scores as they are, [T, E] → int32 [T, k]; ties to the lower id. */
export const topKOnGpu = (score_TE: Tensor2D, k: number): Tensor => runKernel('MoeTopK', { score: score_TE }, { k })[0];

/** Slots per expert of counted tokens, [E] fp32. */
export const loadOnGpu = (expertId_TK: Tensor, counted_T: Integers, numExperts: number): Tensor1D =>
  runKernel('MoeExpertLoad', { expertId: expertId_TK }, { counted_T, numExperts })[0] as Tensor1D;
