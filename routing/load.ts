// How many counted slots each expert got: the integer behind the balance loss, the load-balancing bias and the progress bar.
// expertId_TK [T, k], counted_T [T] → load_E [E].

/** Counts slots per expert; padding (`counted_T` 0) and empty slots (−1) do not count. */
export function expertLoad(
  expertId_TK: Int32Array,
  k: number,
  numExperts: number,
  counted_T: Uint8Array,
): Float64Array<ArrayBuffer> {
  const load_E = new Float64Array(numExperts);
  expertId_TK.forEach((e, slot) => {
    if (e >= 0 && counted_T[Math.floor(slot / k)] === 1) load_E[e] += 1;
  });
  return load_E;
}
