// Problems for attention, and their answers in double precision: random numbers in documents, holes and padding.
import type { AttentionSizes, Values } from './float64.ts';
import { generator } from './judge.ts';

export interface Problem extends AttentionSizes {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
  /** Gradient of the output. */
  upstream: Float32Array;
  querySegment: Int32Array;
  keySegment: Int32Array;
  /** Keys that a query sees back, its own included; all if left out. */
  window?: number;
}

export interface Answer {
  out: Float32Array;
  dq: Float32Array;
  dk: Float32Array;
  dv: Float32Array;
}

/** Random numbers; `segmentAt` gives a position's segment, the queries being the last positions. */
export function problem(sizes: AttentionSizes, segmentAt: (b: number, position: number) => number, seed = 1): Problem {
  const { batch, queries, keys, heads, groups, d } = sizes;
  const random = generator(seed);
  const numbers = (length: number) => Float32Array.from({ length }, random);
  const segments = (length: number, first: number) =>
    Int32Array.from({ length: batch * length }, (_, i) => segmentAt(Math.floor(i / length), first + (i % length)));
  return {
    ...sizes,
    q: numbers(batch * queries * heads * d),
    k: numbers(batch * keys * groups * d),
    v: numbers(batch * keys * groups * d),
    upstream: numbers(batch * queries * heads * d),
    querySegment: segments(queries, keys - queries),
    keySegment: segments(keys, 0),
  };
}

export const sizesOf = (
  batch: number,
  queries: number,
  keys: number,
  heads: number,
  groups: number,
  d: number,
): AttentionSizes => ({ batch, queries, keys, heads, groups, d });

/** The same in double precision, one score at a time. */
export function truth(p: Problem): Record<keyof Answer, Values> {
  const { batch, queries, keys, heads, groups, d } = p;
  const [out, dq, dk, dv] = [p.q, p.q, p.k, p.v].map(({ length }) => new Float64Array(length));
  for (let row = 0; row < batch * queries * heads; row++) {
    const [b, i] = [Math.floor(row / heads / queries), Math.floor(row / heads) % queries];
    const group = Math.floor(((row % heads) * groups) / heads);
    const segment = p.querySegment[b * queries + i];
    const seen = [...Array(Math.max(0, keys - queries + i + 1)).keys()]
      .slice(-(p.window ?? keys))
      .filter(j => segment >= 0 && p.keySegment[b * keys + j] === segment)
      .map(j => ((b * keys + j) * groups + group) * d);
    const dot = (x: Float32Array, key: Float32Array, at: number) => {
      let sum = 0;
      for (let c = 0; c < d; c++) sum += x[row * d + c] * key[at + c];
      return sum;
    };
    const scores = seen.map(at => dot(p.q, p.k, at) / Math.sqrt(d));
    const top = Math.max(...scores);
    const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
    const share = scores.map(score => Math.exp(score - top) / total);
    const dShare = seen.map(at => dot(p.upstream, p.v, at));
    const mean = share.reduce((sum, value, n) => sum + value * dShare[n], 0);
    seen.forEach((at, n) => {
      const dScore = (share[n] * (dShare[n] - mean)) / Math.sqrt(d);
      for (let c = 0; c < d; c++) {
        out[row * d + c] += share[n] * p.v[at + c];
        dq[row * d + c] += dScore * p.k[at + c];
        dk[at + c] += dScore * p.q[row * d + c];
        dv[at + c] += share[n] * p.upstream[row * d + c];
      }
    });
  }
  return { out, dq, dk, dv };
}

export const NAMES = ['out', 'dq', 'dk', 'dv'] as const;

/** Rows [from, to) of width `width`, as bits. */
export const bits = (values: Float32Array, from = 0, to = values.length): Uint32Array =>
  new Uint32Array(values.slice(from, to).buffer);

export const oneDocument = () => 0;
export const documents = (b: number, position: number) => Math.floor((position + 5 * b) / 23);
export const holes = (b: number, position: number) => ((position * 7 + b) % 5) - 1;
export const paddedMiddle = (_: number, position: number) => (position < 20 ? 0 : position < 61 ? -1 : 3);
export const paddedLate = (_: number, position: number) => (position > 66 && position % 3 === 0 ? -1 : 0);
export const thirds = (b: number, position: number) => ((position + b) % 3) - 1;
export const layouts = { oneDocument, documents, holes, paddedMiddle, paddedLate };
