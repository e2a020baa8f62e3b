// How many experts each layer needs, after LayerMoE (arXiv 2505.22582): the less alike the tokens of two languages are where the
// network reads them (similarity S_l), the more: N_l ∝ 1 / S_l.

/** Least S that is inverted: what is not alike at all would take every expert. */
const LEAST = 1e-3;

/** δ S_l⁻¹ / Σ S⁻¹, not yet whole; S at or below 0 is taken as the least. */
export function expertShares(similarity_L: ArrayLike<number>, total: number): number[] {
  const inverse_L = Array.from(similarity_L, similarity => 1 / Math.max(LEAST, similarity));
  const sum = inverse_L.reduce((a, b) => a + b, 0);
  return inverse_L.map(inverse => (total * inverse) / sum);
}

/** As published, rounded up: sums to more than `total` unless all shares are whole. */
export const expertNumbersRoundedUp = (similarity_L: ArrayLike<number>, total: number): number[] =>
  expertShares(similarity_L, total).map(share => Math.ceil(share - 1e-9));

/** Sums to `total`: rounded down, and what is left goes to the largest fractions, of equals to the earlier layer. */
export function expertNumbers(similarity_L: ArrayLike<number>, total: number): number[] {
  const shares = expertShares(similarity_L, total);
  const numbers = shares.map(share => Math.floor(share + 1e-9));
  const left = total - numbers.reduce((a, b) => a + b, 0);
  const order = shares.map((_, l) => l).sort((a, b) => shares[b] - numbers[b] - (shares[a] - numbers[a]) || a - b);
  for (const layer of order.slice(0, left)) numbers[layer]++;
  return numbers;
}
