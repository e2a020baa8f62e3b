// Plain top-k: the k experts with the highest scores, by falling score; equal scores go to the lower id.
// score_TE [T, E] row-major on the host → expertId_TK [T, k].

/** Chooses k of E experts for each token. A score that is not a number loses to every number before it, so the answer is
 *  always k different experts. */
export function topK(score_TE: ArrayLike<number>, numExperts: number, k: number): Int32Array {
  const tokens = score_TE.length / numExperts;
  const expertId_TK = new Int32Array(tokens * k);
  for (let t = 0; t < tokens; t++) {
    const scoreRow = t * numExperts;
    const idRow = t * k;
    for (let e = 0; e < numExperts; e++) {
      const score = score_TE[scoreRow + e];
      let place = Math.min(e, k);
      // Strictly greater: an equal score never overtakes, which is what gives ties to the lower id.
      for (; place > 0 && score > score_TE[scoreRow + expertId_TK[idRow + place - 1]]; place--) {
        if (place < k) expertId_TK[idRow + place] = expertId_TK[idRow + place - 1];
      }
      if (place < k) expertId_TK[idRow + place] = e;
    }
  }
  return expertId_TK;
}
