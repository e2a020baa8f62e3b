// M2, usage entropy: H = −Σ q log q in nats; normalised h = H / log E; effective experts exp(H), 1…E; and inverse
// Simpson 1 / Σ q², less biased when tokens are few. In the selection view one repeated set of k experts already has
// H = log k, hence also h* = (H − log k) / (log E − log k). Plug-in H is biased down: Miller–Madow adds (K₊ − 1) / 2n.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { shareRows } from './usage.ts';

/** H(q) in nats, 0·log 0 = 0. */
export function entropyOf(q: ArrayLike<number>): number {
  let h = 0;
  for (let i = 0; i < q.length; i++) if (q[i] > 0) h -= q[i] * Math.log(q[i]);
  return h;
}

/** 1 / Σ q². */
export function inverseSimpson(q: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < q.length; i++) sum += q[i] * q[i];
  return 1 / sum;
}

/** Entropy of counts with the Miller–Madow correction; right only for independent draws. */
export function millerMadow(counts: ArrayLike<number>): number {
  const list = Array.from(counts);
  const n = list.reduce((sum, count) => sum + count, 0);
  const occupied = list.filter(count => count > 0).length;
  return entropyOf(list.map(count => count / n)) + (occupied - 1) / (2 * n);
}

/** One row per layer and group: entropy, normalised, effective, simpson, aboveMinimum (h*). Null for empty groups. */
export function entropy(usage: ColumnTable, header: TraceHeader): ColumnTable {
  const logE = Math.log(header.numExperts);
  const logK = Math.log(header.expertsPerToken);
  const rows = header.moeLayers.flatMap(layer =>
    [...shareRows(usage, layer)].map(([group, q]) => {
      const h = q && entropyOf(q);
      const ratio = (value: number, range: number) => (range > 0 ? value / range : null);
      return {
        layer,
        group,
        entropy: h,
        normalised: h === null ? null : ratio(h, logE),
        effective: h === null ? null : Math.exp(h),
        simpson: q && inverseSimpson(q),
        aboveMinimum: h === null ? null : ratio(h - logK, logE - logK),
      };
    }),
  );
  const names = ['layer', 'group', 'entropy', 'normalised', 'effective', 'simpson', 'aboveMinimum'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}
