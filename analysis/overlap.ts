// M7, isolation. Mass overlap of two languages Σ_e min(q_λ, q_λ') = 1 − total variation, 0…1, needs no cut (the default).
// With a cut: T_m the m experts with the largest share, IoU = |T ∩ T'| / |T ∪ T'|, isolation = 1 − IoU; random m-subsets share a
// hypergeometric number of experts. Strata of depth as RISE cuts them: 37.5 % and 62.5 % of the layers, rounded half to even.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { LanguageRows, Statistic } from './document-counts.ts';

/** Σ min(p, q), 0…1. */
export function massOverlap(p: ArrayLike<number>, q: ArrayLike<number>): number {
  let sum = 0;
  for (let e = 0; e < p.length; e++) sum += Math.min(p[e], q[e]);
  return sum;
}

/** The m experts with the largest share, lower id first where equal; `ties`: experts outside that equal the last inside. */
export function topExperts(q: ArrayLike<number>, m: number): { experts: number[]; ties: number } {
  const order = Array.from(q, (_, e) => e).sort((a, b) => q[b] - q[a] || a - b);
  const experts = order.slice(0, m);
  const last = q[experts[experts.length - 1]];
  return { experts, ties: order.slice(m).filter(e => Math.abs(q[e] - last) <= 1e-12).length };
}

/** |A ∩ B| / |A ∪ B| of two lists without repetition; NaN when both are empty. */
export function intersectionOverUnion(a: number[], b: number[]): number {
  const both = a.filter(e => b.includes(e)).length;
  return both / (a.length + b.length - both);
}

/** Mean IoU of two random m-subsets of E experts: Σ_j P(|A ∩ B| = j) · j / (2m − j), hypergeometric. */
export function randomIntersection(E: number, m: number): number {
  let mean = 0;
  for (let j = Math.max(0, 2 * m - E); j <= m; j++) {
    mean += ((choose(m, j) * choose(E - m, m - j)) / choose(E, m)) * (j / (2 * m - j));
  }
  return mean;
}

function choose(n: number, k: number): number {
  let ways = 1;
  for (let i = 0; i < k; i++) ways = (ways * (n - i)) / (i + 1);
  return ways;
}

/** Layer indices of the shallow, middle and deep stratum: cuts at 37.5 % and 62.5 % of L, rounded half to even. */
export function strata(L: number): { shallow: number[]; middle: number[]; deep: number[] } {
  const [a, b] = [halfToEven(L * 0.375), halfToEven(L * 0.625)];
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  return { shallow: range(0, a), middle: range(a, b), deep: range(b, L) };
}

function halfToEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** One row per layer and pair: layer, a, b, overlap, isolation (of the m most used experts) and ties at rank m. */
export function overlap(rows: LanguageRows, header: TraceHeader, m = header.expertsPerToken): ColumnTable {
  const columns = { layer: [] as number[], a: [] as string[], b: [] as string[] };
  const numbers = { overlap: [] as number[], isolation: [] as number[], ties: [] as number[] };
  const present = header.languages.map((_, l) => l).filter(l => rows.present[l] === 1);
  for (let layer = 0; layer < rows.layers; layer++) {
    const q = new Map(present.map(l => [l, rowOf(rows, layer, l)]));
    const top = new Map(present.map(l => [l, topExperts(q.get(l)!, m)]));
    for (const [i, a] of present.entries()) {
      for (const b of present.slice(i + 1)) {
        columns.layer.push(header.moeLayers[layer]);
        columns.a.push(header.languages[a].code);
        columns.b.push(header.languages[b].code);
        numbers.overlap.push(massOverlap(q.get(a)!, q.get(b)!));
        numbers.isolation.push(1 - intersectionOverUnion(top.get(a)!.experts, top.get(b)!.experts));
        numbers.ties.push(top.get(a)!.ties + top.get(b)!.ties);
      }
    }
  }
  return table({ ...columns, ...numbers });
}

/** The row of one language in one layer, a view. */
export function rowOf({ languages, experts, q }: LanguageRows, layer: number, language: number): Float64Array {
  const at = (layer * languages + language) * experts;
  return q.subarray(at, at + experts);
}

/** [L] mass overlap, mean over all pairs of languages that are present. */
export function meanOverlap({ layers, languages, experts, q, present }: LanguageRows): Float64Array {
  const n = present.reduce((sum, one) => sum + one, 0);
  const column = new Float64Array(n);
  return Float64Array.from({ length: layers }, (_, layer) => {
    let sum = 0;
    for (let e = 0; e < experts; e++) {
      for (let l = 0, i = 0; l < languages; l++) {
        if (present[l] === 1) column[i++] = q[(layer * languages + l) * experts + e];
      }
      // among ascending values the i-th is the smaller of its pair n − 1 − i times
      column.sort();
      for (let i = 0; i < n; i++) sum += column[i] * (n - 1 - i);
    }
    return sum / ((n * (n - 1)) / 2);
  });
}

/** Mean overlap per layer; smooth and dear, so its interval comes from the jackknife. */
export const overlapStatistic: Statistic = { name: 'overlap', of: meanOverlap, range: [0, 1], interval: 'jackknife' };
