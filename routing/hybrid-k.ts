// Hybrid-k (ApolloMoE, arXiv 2410.10626): top-k in which the token's language expert always takes part.
//   S = top-k(p);   if the language expert L is not in S, it replaces the last (lowest) of S.
// Its gate stays its own softmax probability, so the router still learns through it. score_TE [T, E] → expertId_TK [T, k].
import { topK } from './top-k.ts';

/** Chooses k of E experts with the language expert among them. A token whose language is unknown (−1) gets plain top-k. */
export function hybridK(
  score_TE: ArrayLike<number>,
  numExperts: number,
  k: number,
  languageExpert_T: Int32Array,
): Int32Array {
  const expertId_TK = topK(score_TE, numExperts, k);
  languageExpert_T.forEach((languageExpert, t) => {
    if (languageExpert < 0) return;
    const row_K = expertId_TK.subarray(t * k, (t + 1) * k);
    if (!row_K.includes(languageExpert)) row_K[k - 1] = languageExpert;
  });
  return expertId_TK;
}
