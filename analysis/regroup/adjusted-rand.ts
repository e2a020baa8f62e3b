// Agreement of two groupings of the same n languages: adjusted Rand index (Hubert and Arabie 1985),
//   (Σ C(n_ij, 2) − A·B / C(n, 2)) / ((A + B) / 2 − A·B / C(n, 2)),  A = Σ C(a_i, 2), B = Σ C(b_j, 2).
// 0 is what chance gives for groups of these sizes, 1 the same grouping. p: share of relabellings that agree at least as well.

const pairs = (count: number): number => (count * (count - 1)) / 2;

/** NaN below 2 languages; 1 where both groupings are the same trivial one (all together, or all apart). */
export function adjustedRand(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number {
  const n = a.length;
  if (n < 2) return Number.NaN;
  const [joint, left, right] = [new Map<string, number>(), new Map<unknown, number>(), new Map<unknown, number>()];
  const add = <Key>(counts: Map<Key, number>, key: Key): void => void counts.set(key, (counts.get(key) ?? 0) + 1);
  const [idOfA, idOfB] = [numbering(a), numbering(b)];
  for (let i = 0; i < n; i++) {
    add(joint, `${idOfA[i]} ${idOfB[i]}`);
    add(left, idOfA[i]);
    add(right, idOfB[i]);
  }
  const sum = (counts: Map<unknown, number>): number => [...counts.values()].reduce((total, c) => total + pairs(c), 0);
  const [together, A, B] = [sum(joint), sum(left), sum(right)];
  const chance = (A * B) / pairs(n);
  const most = (A + B) / 2;
  return most === chance ? 1 : (together - chance) / (most - chance);
}

function numbering(labels: ArrayLike<unknown>): number[] {
  const seen = new Map<unknown, number>();
  return Array.from(labels, label => {
    if (!seen.has(label)) seen.set(label, seen.size);
    return seen.get(label)!;
  });
}

export interface Agreement {
  rand: number;
  /** (1 + #{relabelled ≥ observed}) / (1 + permutations). */
  p: number;
  /** 95 % point of the relabelled values: what random groups of these sizes reach. */
  random95: number;
  permutations: number;
}

/** @param random in [0, 1) */
export function agreement(
  a: ArrayLike<unknown>,
  b: ArrayLike<unknown>,
  permutations: number,
  random: () => number,
): Agreement {
  const rand = adjustedRand(a, b);
  const labels = Array.from(a);
  const drawn = Float64Array.from({ length: permutations }, () => {
    for (let i = labels.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [labels[i], labels[j]] = [labels[j], labels[i]];
    }
    return adjustedRand(labels, b);
  }).sort();
  const reached = drawn.filter(value => value >= rand - 1e-12).length;
  const random95 = drawn[Math.min(permutations - 1, Math.floor(0.95 * permutations))];
  return { rand, p: (1 + reached) / (1 + permutations), random95, permutations };
}
