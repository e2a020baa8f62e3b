// Silhouette (Rousseeuw 1987) of points in groups: s = (b − a) / max(a, b), a = mean distance to the own group, b = to the
// nearest other one. −1…1: above 0, a point lies nearer to its own group. For us points are languages and groups are families.
// Shapes: distance [n · n], symmetric.

/** What a point alone in its group gets: no value, or Rousseeuw's 0, which lets maps with and without the group compare. */
export type Alone = 'none' | 'zero';

/** [n] silhouette of each point; NaN alone in a group (unless `zero`), with one group only, or without a distance. */
export function silhouettes(
  distance: ArrayLike<number>,
  group: readonly unknown[],
  alone: Alone = 'none',
): Float64Array {
  const n = group.length;
  const names = [...new Set(group)];
  const number = Int32Array.from(group, name => names.indexOf(name));
  const result = new Float64Array(n).fill(Number.NaN);
  if (names.length < 2) return result;
  const size = new Float64Array(names.length);
  for (const g of number) size[g]++;
  const sum = new Float64Array(names.length);
  for (let i = 0; i < n; i++) {
    sum.fill(0);
    for (let j = 0; j < n; j++) if (j !== i) sum[number[j]] += distance[i * n + j];
    const own = number[i];
    if (size[own] === 1) {
      if (alone === 'zero') result[i] = 0;
      continue;
    }
    let nearest = Number.POSITIVE_INFINITY;
    for (let g = 0; g < names.length; g++) if (g !== own) nearest = Math.min(nearest, sum[g] / size[g]);
    const within = sum[own] / (size[own] - 1);
    const larger = Math.max(within, nearest);
    result[i] = larger > 0 ? (nearest - within) / larger : 0;
  }
  return result;
}

/** Mean over the points that have a value; NaN if none has. */
export function meanSilhouette(distance: ArrayLike<number>, group: readonly unknown[], alone: Alone = 'none'): number {
  const values = silhouettes(distance, group, alone).filter(value => !Number.isNaN(value));
  return values.reduce((total, value) => total + value, 0) / values.length;
}
