// H(q_λ) of every layer and language, and the pooled rows, kept per rows object: several statistics of the same draw need them,
// and the logarithms are as dear as the draw itself.
import type { LanguageRows } from './document-counts.ts';

const kept = new WeakMap<LanguageRows, Float64Array>();
const pooledOf = new WeakMap<LanguageRows, Float64Array>();

/** [L · n] entropies in nats; NaN for absent languages. */
export function rowEntropies(rows: LanguageRows): Float64Array {
  const known = kept.get(rows);
  if (known) return known;
  const { layers, languages, experts, q, present } = rows;
  const h = new Float64Array(layers * languages).fill(Number.NaN);
  for (let i = 0; i < h.length; i++) if (present[i % languages] === 1) h[i] = entropyAt(q, i * experts, experts);
  kept.set(rows, h);
  return h;
}

/** −Σ q log q over `length` values from `at`, 0·log 0 = 0. */
export function entropyAt(q: ArrayLike<number>, at: number, length: number): number {
  let h = 0;
  for (let i = at; i < at + length; i++) if (q[i] > 0) h -= q[i] * Math.log(q[i]);
  return h;
}

/** [L · E] mean row over the languages that are present, each counting once; NaN where none is. */
export function pooledRows(rows: LanguageRows): Float64Array {
  const known = pooledOf.get(rows);
  if (known) return known;
  const { layers, languages, experts, q, present } = rows;
  const pooled = new Float64Array(layers * experts);
  const n = present.reduce((sum, one) => sum + one, 0);
  for (let layer = 0; layer < layers; layer++) {
    for (let l = 0; l < languages; l++) {
      if (present[l] === 0) continue;
      const from = (layer * languages + l) * experts;
      for (let e = 0; e < experts; e++) pooled[layer * experts + e] += q[from + e];
    }
  }
  for (let i = 0; i < pooled.length; i++) pooled[i] /= n;
  pooledOf.set(rows, pooled);
  return pooled;
}
