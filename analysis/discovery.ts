// Which of many calls stand: Benjamini and Hochberg (1995). With m p-values sorted ascending, the largest r with
// p_(r) ≤ q · r / m gives r discoveries, among which at most the share q is expected to be false.
// Intervals of the r discoveries must then be taken at level 1 − q · r / m (Benjamini and Yekutieli 2005).

export interface Discoveries {
  /** [m] the smallest q at which each call would stand; NaN where p is NaN. */
  adjusted: Float64Array;
  /** [m] 1: stands at the asked level. */
  found: Uint8Array;
  /** Level of significance that an interval of a discovery has to be taken at: q · r / m. 0 without discoveries. */
  level: number;
}

/** Calls at false discovery rate `rate`. p-values that are NaN are no tests: they do not count in m. */
export function discoveries(p: ArrayLike<number>, rate = 0.05): Discoveries {
  const order = Array.from(p, (_, i) => i).filter(i => !Number.isNaN(p[i]));
  order.sort((a, b) => p[a] - p[b]);
  const tests = order.length;
  const adjusted = new Float64Array(p.length).fill(Number.NaN);
  const found = new Uint8Array(p.length);
  let smallest = 1;
  let count = 0;
  for (let rank = tests; rank >= 1; rank--) {
    const i = order[rank - 1];
    smallest = Math.min(smallest, (p[i] * tests) / rank);
    adjusted[i] = smallest;
    if (smallest > rate) continue;
    found[i] = 1;
    count++;
  }
  return { adjusted, found, level: tests > 0 ? (rate * count) / tests : 0 };
}
