// Language-specific routing, the baseline of ApolloMoE (arXiv 2410.10626): the language alone decides, k = 1.
//   known language: S = [L], gate 1 (a constant: the router gets no gradient);   unknown: the router's top-1, gate p.
// Since nothing trains the router, plain inference with it is close to random: evaluate this baseline with language ids.
import { topK } from './top-k.ts';
import type { Selection } from './types.ts';

/** One expert per token: its language's, or the router's first choice where the language is −1. score_TE [T, E]. */
export function languageSpecific(
  score_TE: ArrayLike<number>,
  numExperts: number,
  languageExpert_T: Int32Array,
): Selection {
  const expertId_TK = topK(score_TE, numExperts, 1);
  const fixedGate_TK = new Float32Array(expertId_TK.length).fill(-1);
  languageExpert_T.forEach((languageExpert, t) => {
    if (languageExpert < 0) return;
    expertId_TK[t] = languageExpert;
    fixedGate_TK[t] = 1;
  });
  return { expertId_TK, k: 1, fixedGate_TK };
}
