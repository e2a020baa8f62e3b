// Groups of equal size, as DMoE makes them (arXiv 2506.12388): again and again the group whose largest pair distance is the
// smallest of all groups of its size among what is left. Where n / G is no whole number the first groups have one more. Of equals
// the group with the lower ids comes first. The smallest diameter is found by bisection over the distances, each step asking
// whether languages nearer than that to each other make a clique of the size.
// Shapes: distance [n · n], symmetric.

/** [n] group 0 … groups − 1, numbered by first member. */
export function balancedGroups(distance: ArrayLike<number>, n: number, groups: number): Int32Array {
  let left = Array.from({ length: n }, (_, i) => i);
  const made: number[][] = [];
  for (let g = 0; g < groups; g++) {
    const size = Math.floor(n / groups) + (g < n % groups ? 1 : 0);
    const group = tightest(distance, n, left, size);
    made.push(group);
    left = left.filter(i => !group.includes(i));
  }
  made.sort((a, b) => a[0] - b[0]);
  const group = new Int32Array(n);
  for (const [g, members] of made.entries()) for (const i of members) group[i] = g;
  return group;
}

/** Of `left`, the `size` points with the smallest largest distance, ascending. */
function tightest(distance: ArrayLike<number>, n: number, left: number[], size: number): number[] {
  if (size >= left.length) return left;
  if (size < 2) return left.slice(0, size);
  const between = left.flatMap((i, x) => left.slice(x + 1).map(j => distance[i * n + j]));
  const steps = [...new Set(between)].sort((a, b) => a - b);
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (clique(distance, n, left, size, steps[middle])) high = middle;
    else low = middle + 1;
  }
  return clique(distance, n, left, size, steps[low])!;
}

/** The first clique of `size` in the order of ids, pairs being joined up to `most` apart; null where there is none. */
function clique(distance: ArrayLike<number>, n: number, left: number[], size: number, most: number): number[] | null {
  const joined = (i: number, j: number): boolean => distance[i * n + j] <= most;
  const extend = (chosen: number[], from: number[]): number[] | null => {
    if (chosen.length === size) return chosen;
    const open = dense(from, size - chosen.length, joined);
    for (const [x, i] of open.entries()) {
      if (open.length - x < size - chosen.length) return null;
      const found = extend(
        [...chosen, i],
        open.slice(x + 1).filter(j => joined(i, j)),
      );
      if (found) return found;
    }
    return null;
  };
  return extend([], left);
}

/** Without the points that are joined to too few of the others to be in a clique of that size. */
function dense(points: number[], size: number, joined: (i: number, j: number) => boolean): number[] {
  let kept = points;
  for (;;) {
    const next = kept.filter(i => kept.reduce((count, j) => count + Number(j !== i && joined(i, j)), 0) >= size - 1);
    if (next.length === kept.length) return next;
    kept = next;
  }
}
