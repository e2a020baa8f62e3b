// Average linkage (UPGMA) and what a tree makes of distances. Two clusters merge at the mean distance between their members;
// the cophenetic distance of two leaves is the height of their first common merge. Leaves are 0 … n − 1, merge m is cluster n + m.
// Shapes: distance [n · n], symmetric. Ties go to the pair with the lower ids.

export interface Merge {
  /** Clusters joined, the lower id first. */
  a: number;
  b: number;
  height: number;
  /** Leaves below. */
  size: number;
}

/** The n − 1 merges, lowest first. `n` ≥ 1; distances must be numbers. */
export function averageLinkage(distance: ArrayLike<number>, n: number): Merge[] {
  const between = Float64Array.from({ length: n * n }, (_, i) => distance[i]);
  const id = Array.from({ length: n }, (_, i) => i);
  const size = new Array<number>(n).fill(1);
  const alive = Array.from({ length: n }, (_, i) => i);
  const merges: Merge[] = [];
  while (alive.length > 1) {
    const [i, j] = nearestPair(between, n, alive, id);
    merges.push({
      a: Math.min(id[i], id[j]),
      b: Math.max(id[i], id[j]),
      height: between[i * n + j],
      size: size[i] + size[j],
    });
    for (const k of alive) {
      const mean = (size[i] * between[i * n + k] + size[j] * between[j * n + k]) / (size[i] + size[j]);
      between[i * n + k] = mean;
      between[k * n + i] = mean;
    }
    size[i] += size[j];
    id[i] = n + merges.length - 1;
    alive.splice(alive.indexOf(j), 1);
  }
  return merges;
}

function nearestPair(between: Float64Array, n: number, alive: number[], id: number[]): [number, number] {
  const byId = [...alive].sort((i, j) => id[i] - id[j]);
  let best: [number, number] = [byId[0], byId[1]];
  for (const [x, i] of byId.entries()) {
    for (let y = x + 1; y < byId.length; y++) {
      if (between[i * n + byId[y]] < between[best[0] * n + best[1]]) best = [i, byId[y]];
    }
  }
  return best;
}

/** [n · n] height at which each pair of leaves first meets; 0 on the diagonal. */
export function cophenetic(merges: Merge[], n: number): Float64Array {
  const height = new Float64Array(n * n);
  const members = Array.from({ length: n }, (_, leaf) => [leaf]);
  for (const merge of merges) {
    const [left, right] = [members[merge.a], members[merge.b]];
    for (const i of left) {
      for (const j of right) {
        height[i * n + j] = merge.height;
        height[j * n + i] = merge.height;
      }
    }
    members.push([...left, ...right]);
  }
  return height;
}

/** Leaves from top to bottom of a drawing without crossings; inside a merge the cluster with the lower id comes first. */
export function leafOrder(merges: Merge[], n: number): number[] {
  const members = Array.from({ length: n }, (_, leaf) => [leaf]);
  for (const { a, b } of merges) members.push([...members[a], ...members[b]]);
  return members.at(-1) ?? [];
}

/** [n] group 0 … groups − 1 of each leaf after the last groups − 1 merges are undone; numbered by first leaf. */
export function cutTree(merges: Merge[], n: number, groups: number): Int32Array {
  const parent = Array.from({ length: n + merges.length }, (_, i) => i);
  const root = (i: number): number => (parent[i] === i ? i : root(parent[i]));
  for (const [m, { a, b }] of merges.slice(0, n - groups).entries()) {
    parent[root(a)] = n + m;
    parent[root(b)] = n + m;
  }
  const seen: number[] = [];
  return Int32Array.from({ length: n }, (_, leaf) => {
    const top = root(leaf);
    if (!seen.includes(top)) seen.push(top);
    return seen.indexOf(top);
  });
}
