// Capacity (GShard, Switch): an expert serves at most C slots; what does not fit is dropped and the token keeps its residual
// stream only. The default everywhere is dropless; this is the option. expertId_TK [T, k] → the same with −1 where dropped.

/** C = ⌈factor · T · k / E⌉, at least 1. */
export function expertCapacity(factor: number, tokens: number, k: number, numExperts: number): number {
  return Math.max(1, Math.ceil((factor * tokens * k) / numExperts));
}

/** Serves all first choices in token order, then all second ones, as GShard does: later tokens lose, and no token loses its first
 *  choice to another's second. Gates are left as they are. */
export function applyCapacity(
  expertId_TK: Int32Array,
  k: number,
  numExperts: number,
  capacity: number,
): { expertId_TK: Int32Array; dropped: number } {
  const used_E = new Int32Array(numExperts);
  const kept_TK = expertId_TK.slice();
  let dropped = 0;
  for (let j = 0; j < k; j++) {
    for (let slot = j; slot < kept_TK.length; slot += k) {
      const e = kept_TK[slot];
      if (e < 0) continue;
      if (used_E[e] < capacity) used_E[e] += 1;
      else {
        kept_TK[slot] = -1;
        dropped += 1;
      }
    }
  }
  return { expertId_TK: kept_TK, dropped };
}
