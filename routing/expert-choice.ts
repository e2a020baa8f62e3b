// Expert choice (Zhou et al. 2022, arXiv 2202.09368): experts choose tokens. Each takes its C = ⌈n·k/E⌉ best tokens, n the
// counted ones, so load is even by construction and a token may get 0 to E experts: rows are padded with −1 ("no expert").
// Not causal: whether a token is chosen depends on later tokens of the batch. Use it for comparison, not to generate text.
// probability_TE [T, E] → expertId_TK [T, K], K the most experts any token got (at least 1).
import type { Selection } from './types.ts';

/** Padding (`counted_T` 0) is never chosen. Equal scores go to the earlier token, and in a row to the lower expert id. */
export function expertChoice(
  probability_TE: ArrayLike<number>,
  numExperts: number,
  k: number,
  counted_T: Uint8Array,
): Selection {
  const token_C = Array.from(counted_T.keys()).filter(t => counted_T[t] === 1);
  const places = Math.min(token_C.length, Math.ceil((token_C.length * k) / numExperts));
  const chosen_T: number[][] = Array.from(counted_T, () => []);
  for (let e = 0; e < numExperts; e++) {
    const score = (t: number) => probability_TE[t * numExperts + e];
    const best_C = token_C.toSorted((a, b) => score(b) - score(a) || a - b);
    for (const t of best_C.slice(0, places)) chosen_T[t].push(e);
  }
  const rowLength = Math.max(1, ...new Set(chosen_T.map(chosen => chosen.length)));
  const expertId_TK = new Int32Array(chosen_T.length * rowLength).fill(-1);
  chosen_T.forEach((chosen, t) => {
    const score = (e: number) => probability_TE[t * numExperts + e];
    expertId_TK.set(
      chosen.sort((a, b) => score(b) - score(a) || a - b),
      t * rowLength,
    );
  });
  return { expertId_TK, k: rowLength };
}
