// How many experts each layer needs, after LayerMoE (arXiv 2505.22582): the less alike the tokens of two languages are where the
// network reads them, the more. S_l = mean cosine over all Q × Q pairs of tokens, which is the product of the two mean unit
// vectors, ū_a · ū_b: Q vectors are added up and no matrix of pairs is made. Experts N_l ∝ 1 / S_l.
// Shapes: Q tokens, D width.

/** Added up over the tokens of one language in one layer. */
export interface UnitSum {
  sum_D: Float64Array;
  tokens: number;
}

/** Adds tokens x_QD, each divided by its length; a vector of zeros adds nothing and counts. */
export function addUnits(into: UnitSum, x_QD: ArrayLike<number>): void {
  const D = into.sum_D.length;
  for (let at = 0; at < x_QD.length; at += D) {
    let squares = 0;
    for (let i = at; i < at + D; i++) squares += x_QD[i] ** 2;
    if (squares > 0) for (let i = 0; i < D; i++) into.sum_D[i] += x_QD[at + i] / Math.sqrt(squares);
    into.tokens++;
  }
}

/** S of two languages: mean cosine over all pairs of their tokens. NaN without tokens. */
export const meanPairCosine = (a: UnitSum, b: UnitSum): number =>
  a.sum_D.reduce((sum, value, i) => sum + value * b.sum_D[i], 0) / (a.tokens * b.tokens);

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
