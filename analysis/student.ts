// Student's t: two-sided tail P(|T| ≥ t) = I_x(ν/2, 1/2) with x = ν / (ν + t²), I the regularised incomplete beta function,
// by its continued fraction (modified Lentz). For statistics whose standard error comes from ν + 1 jackknife blocks or seeds.
import type { Estimate } from './document-counts.ts';

const TINY = 1e-300;
const LANCZOS = [
  676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
  -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** P(|T| ≥ |t|) at `freedom` degrees of freedom (> 0); relative error below 1e-10. NaN for NaN. */
export function twoSided(t: number, freedom: number): number {
  if (!Number.isFinite(t)) return Number.isNaN(t) ? Number.NaN : 0;
  return incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
}

/** Fewest blocks behind the standard errors of an interval, where a caller does not know how many there were. */
const FEWEST_BLOCKS = 30;
/** Estimates below this are 0: the jackknife multiplies what rounding leaves. */
const ROUNDING = 1e-9;

/**
 * Two-sided p of "it is 0" for estimates with jackknife standard errors; NaN where there is none. Without `blocks` there are at least
 * 30, or, where few texts are given as a reason, nothing is tested.
 */
export function jackknifeTests(estimates: readonly Estimate[], blocks?: number): { p: Float64Array; freedom: number } {
  const freedom = (blocks ?? FEWEST_BLOCKS) - 1;
  const p = Float64Array.from(estimates, ({ estimate, se, reason }) => {
    if (se === null || (blocks === undefined && reason)) return Number.NaN;
    return Math.abs(estimate) < ROUNDING ? 1 : twoSided(estimate / se, freedom);
  });
  return { p, freedom };
}

/** The t that |T| exceeds with probability `tail`, 0 < tail < 1: 95 % intervals take tail 0.05. */
export function criticalT(tail: number, freedom: number): number {
  let high = 1;
  while (twoSided(high, freedom) > tail) high *= 2;
  let low = 0;
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (twoSided(middle, freedom) > tail) low = middle;
    else high = middle;
  }
  return high;
}

/** I_x(a, b); the fraction converges fast below the mean, above it the symmetric one is used. */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  let [c, d] = [1, 1 / nonZero(1 - ((a + b) * x) / (a + 1))];
  let fraction = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let step = 1;
    for (const term of [even, odd]) {
      d = 1 / nonZero(1 + term * d);
      c = nonZero(1 + term / c);
      step = c * d;
      fraction *= step;
    }
    if (Math.abs(step - 1) < 1e-14) break;
  }
  return front * fraction;
}

const nonZero = (value: number): number => (Math.abs(value) < TINY ? TINY : value);

/** log Γ(z) for z ≥ 1/2 (Lanczos, g = 7). */
function logGamma(z: number): number {
  const series = LANCZOS.reduce((sum, term, i) => sum + term / (z + i), 0.99999999999980993);
  const t = z + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (z - 0.5) * Math.log(t) - t + Math.log(series);
}
