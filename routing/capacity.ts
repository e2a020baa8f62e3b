// Capacity (GShard, Switch): an expert serves at most C slots; what does not fit is dropped and the token keeps its residual
// stream only. The default everywhere is dropless; this is the option. expertId_TK [T, k] → the same with −1 where dropped.

/** C = ⌈factor · T · k / E⌉, at least 1. */
export function expertCapacity(factor: number, tokens: number, k: number, numExperts: number): number {
  return Math.max(1, Math.ceil((factor * tokens * k) / numExperts));
}

/** Serves slots in token order (in a token, first choice first), so that later tokens lose. Gates are left as they are. */
export function applyCapacity(
  expertId_TK: Int32Array,
  numExperts: number,
  capacity: number,
): { expertId_TK: Int32Array; dropped: number } {
  const used_E = new Int32Array(numExperts);
  let dropped = 0;
  const kept_TK = expertId_TK.map(e => {
    if (e < 0) return -1;
    if (used_E[e] === capacity) {
      dropped += 1;
      return -1;
    }
    used_E[e] += 1;
    return e;
  });
  return { expertId_TK: kept_TK, dropped };
}
