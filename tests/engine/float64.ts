// Every differentiable operation of the engine once more, as plain loops in double precision: the judge of the tests.
// Matrices are flat, row by row. Nothing here is shared with the code under test.

export type Values = Float64Array;

export function matmul64(
  a: Values,
  b: Values,
  m: number,
  k: number,
  n: number,
  turnA: boolean,
  turnB: boolean,
): Values {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let c = 0; c < k; c++) out[i * n + j] += a[turnA ? c * m + i : i * k + c] * b[turnB ? j * k + c : c * n + j];
    }
  }
  return out;
}

export function linear64(x: Values, w: Values, bias: Values, t: number, d: number, f: number): Values {
  return matmul64(x, w, t, d, f, false, true).map((value, i) => value + bias[i % f]);
}

export function rmsNorm64(x: Values, w: Values, d: number, epsilon: number): Values {
  return x.map((value, i) => {
    const row = x.subarray(i - (i % d), i - (i % d) + d);
    return (w[i % d] * value) / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / d + epsilon);
  });
}

export function rope64(x: Values, heads: number, d: number, position: ArrayLike<number>, theta: number): Values {
  return x.map((value, i) => {
    const c = i % d;
    const pair = c % (d / 2);
    const angle = position[Math.floor(i / (heads * d))] / theta ** ((2 * pair) / d);
    return c < d / 2
      ? value * Math.cos(angle) - x[i + d / 2] * Math.sin(angle)
      : value * Math.cos(angle) + x[i - d / 2] * Math.sin(angle);
  });
}

export const swiglu64 = (gate: Values, up: Values): Values => gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]);

export interface AttentionSizes {
  batch: number;
  queries: number;
  keys: number;
  heads: number;
  groups: number;
  d: number;
}

export function attention64(
  q: Values,
  k: Values,
  v: Values,
  { batch, queries, keys, heads, groups, d }: AttentionSizes,
  querySegment: ArrayLike<number>,
  keySegment: ArrayLike<number>,
  window = Number.POSITIVE_INFINITY,
): Values {
  const out = new Float64Array(batch * queries * heads * d);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < queries; i++) {
      for (let h = 0; h < heads; h++) {
        const group = Math.floor((h * groups) / heads);
        const at = ((b * queries + i) * heads + h) * d;
        const seen = [...Array(keys).keys()].filter(
          j =>
            querySegment[b * queries + i] >= 0 &&
            querySegment[b * queries + i] === keySegment[b * keys + j] &&
            j <= keys - queries + i &&
            j > keys - queries + i - window,
        );
        const keyAt = (j: number) => ((b * keys + j) * groups + group) * d;
        const weight = seen.map(j => {
          let dot = 0;
          for (let c = 0; c < d; c++) dot += q[at + c] * k[keyAt(j) + c];
          return Math.exp(dot / Math.sqrt(d));
        });
        const total = weight.reduce((sum, w) => sum + w, 0);
        seen.forEach((j, n) => {
          for (let c = 0; c < d; c++) out[at + c] += (weight[n] / total) * v[keyAt(j) + c];
        });
      }
    }
  }
  return out;
}

export function crossEntropy64(logits: Values, label: ArrayLike<number>, vocabulary: number): Values {
  return Float64Array.from(label, (y, t) => {
    if (y === -100) return 0;
    const row = logits.subarray(t * vocabulary, (t + 1) * vocabulary);
    return Math.log(row.reduce((sum, v) => sum + Math.exp(v - row[y]), 0));
  });
}

/** out[m] = Σ_r weight[m, r] x[index[m, r]], −1 skipped: embedding, gather and combine in one. */
export function gather64(x: Values, d: number, index: ArrayLike<number>, width: number, weight?: Values): Values {
  const out = new Float64Array((index.length / width) * d);
  for (let s = 0; s < index.length; s++) {
    if (index[s] < 0) continue;
    for (let c = 0; c < d; c++) out[Math.floor(s / width) * d + c] += (weight?.[s] ?? 1) * x[index[s] * d + c];
  }
  return out;
}

export function groupedLinear64(x: Values, w: Values[], d: number, f: number, offsets: ArrayLike<number>): Values {
  const out = new Float64Array((x.length / d) * f);
  w.forEach((weight, e) => {
    const rows = x.subarray(offsets[e] * d, offsets[e + 1] * d);
    out.set(matmul64(rows, weight, offsets[e + 1] - offsets[e], d, f, false, true), offsets[e] * f);
  });
  return out;
}
