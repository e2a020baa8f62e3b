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
  const expertId_TK = topK(score_TE, numExperts, 1).map((first, t) =>
    languageExpert_T[t] < 0 ? first : languageExpert_T[t],
  );
  return { expertId_TK, k: 1, fixedGate_TK: languageGates(languageExpert_T) };
}

/** [T] gates of 1 where the language decides, −1 where the router does. */
export const languageGates = (languageExpert_T: Int32Array): Float32Array =>
  Float32Array.from(languageExpert_T, expert => (expert < 0 ? -1 : 1));
