// Over seeds: mean, standard error and 95 % t-interval. Seeds are the unit: what varies inside a run is ten times smaller.
import { criticalT } from '../../analysis/student.ts';

export interface OverSeeds {
  n: number;
  mean: number;
  /** Standard error; NaN for one seed. */
  error: number;
  /** 95 % interval; null for one seed. */
  interval: [number, number] | null;
  values: number[];
}

export function overSeeds(values: number[]): OverSeeds {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const error = Math.sqrt(variance / n);
  const half = n > 1 ? criticalT(0.05, n - 1) * error : Number.NaN;
  return { n, mean, error, interval: n > 1 ? [mean - half, mean + half] : null, values };
}

/** Layer by layer over seeds: profiles [seed][layer] → mean of each layer. */
export const meanProfile = (profiles: number[][]): number[] =>
  profiles[0].map((_, layer) => profiles.reduce((sum, profile) => sum + profile[layer], 0) / profiles.length);
