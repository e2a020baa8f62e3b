// Host grouped-query attention, causal inside equal segments: softmax(q kᵀ / √d) v for each head.
// Works on blocks of query rows: the R heads that share a key head are stacked, so that one block is n = R · rows
// queries against w keys, and only [n, w] scores exist at a time. Backward computes the softmax p again and uses
// dv = pᵀ do, dp = do vᵀ, ds = p ⊙ (dp − Σ_j p dp), dq = ds k / √d, dk = dsᵀ q / √d.
// Kernels MoeAttention: { q, k, v }, segments -> out; MoeAttentionGrad: the same and { gradient } -> dq, dk, dv.

import type { HostMemory } from '../host.ts';
import { registerHostKernel } from '../host.ts';
import type { TensorInfo } from '../tf.ts';
import { softmaxInto } from './exponential.ts';
import { straightProduct } from './product.ts';

export interface AttentionAttributes {
  querySegment_BS: Int32Array;
  keySegment_BS: Int32Array;
}

const BLOCKED = -1e30; // finite, so that a row that may see nothing gives no NaN
const STACKED_ROWS = 128; // rows of one score block, over all stacked heads

const PLAIN = { transposeA: false, transposeB: false };
const LEFT_TURNED = { transposeA: true, transposeB: false };
const RIGHT_TURNED = { transposeA: false, transposeB: true };

/** One block: queries i0..i1 of the heads of one key group, and the keys j0..j1 that any of them may see. */
interface Block {
  /** Offset of the batch row's first query and first key row: b · Sq and b · Sk. */
  queryBase: number;
  keyBase: number;
  group: number;
  i0: number;
  i1: number;
  j0: number;
  j1: number;
  sight: Sight;
}

/** For each query of one batch row: the first and last key it may see (−1 and −2 when there is none), and whether
 *  keys of other segments lie between them. */
interface Sight {
  first_S: Int32Array;
  last_S: Int32Array;
  holes_S: Uint8Array;
}

interface Sizes {
  batch: number;
  queries: number;
  keys: number;
  heads: number;
  groups: number;
  /** Query heads per key head. */
  ratio: number;
  d: number;
}

function sizesOf(q: TensorInfo, k: TensorInfo): Sizes {
  const [batch, queries, heads, d] = q.shape;
  const [, keys, groups] = k.shape;
  return { batch, queries, keys, heads, groups, ratio: heads / groups, d };
}

function sightOf(b: number, size: Sizes, { querySegment_BS, keySegment_BS }: AttentionAttributes): Sight {
  const first_S = new Int32Array(size.queries).fill(-1);
  const last_S = new Int32Array(size.queries).fill(-2);
  const holes_S = new Uint8Array(size.queries);
  const seen = new Map<number, { first: number; last: number; count: number }>();
  const past = size.keys - size.queries;
  for (let j = 0; j < size.keys; j++) {
    const segment = keySegment_BS[b * size.keys + j];
    const of = seen.get(segment) ?? { first: j, last: j, count: 0 };
    seen.set(segment, { first: of.first, last: j, count: of.count + 1 });
    const i = j - past;
    const mine = i < 0 ? -1 : querySegment_BS[b * size.queries + i];
    const sight = mine < 0 ? undefined : seen.get(mine);
    if (!sight) continue;
    first_S[i] = sight.first;
    last_S[i] = sight.last;
    holes_S[i] = Number(sight.count !== sight.last - sight.first + 1);
  }
  return { first_S, last_S, holes_S };
}

/** All blocks in fixed order. A block without keys has j0 = j1 = 0. */
function* blocksOf(size: Sizes, attributes: AttentionAttributes): Generator<Block> {
  const rows = Math.max(1, Math.floor(STACKED_ROWS / size.ratio));
  for (let b = 0; b < size.batch; b++) {
    const sight = sightOf(b, size, attributes);
    for (let group = 0; group < size.groups; group++) {
      for (let i0 = 0; i0 < size.queries; i0 += rows) {
        const i1 = Math.min(size.queries, i0 + rows);
        let [j0, j1] = [size.keys, 0];
        for (let i = i0; i < i1; i++) {
          if (sight.first_S[i] < 0) continue;
          j0 = Math.min(j0, sight.first_S[i]);
          j1 = Math.max(j1, sight.last_S[i] + 1);
        }
        yield { queryBase: b * size.queries, keyBase: b * size.keys, group, i0, i1, j0: Math.min(j0, j1), j1, sight };
      }
    }
  }
}

/** The block's query rows [n, d], head after head, times `scale`. Serves q and the gradient of the output. */
function takeQueries(memory: HostMemory, tensor: TensorInfo, block: Block, size: Sizes, scale: number): TensorInfo {
  const { i0, i1, group, queryBase } = block;
  const result = memory.allocate([size.ratio * (i1 - i0), size.d]);
  const [from, to] = [memory.view(tensor), memory.view(result)];
  let at = 0;
  for (let r = 0; r < size.ratio; r++) {
    for (let i = i0; i < i1; i++) {
      const start = ((queryBase + i) * size.heads + group * size.ratio + r) * size.d;
      for (let c = start; c < start + size.d; c++) to[at++] = from[c] * scale;
    }
  }
  return result;
}

/** Writes [n, d] rows back to where `takeQueries` took them, times `scale`; rows without keys, and all if `rows` is
 *  null, become 0. */
function putQueries(
  memory: HostMemory,
  target: TensorInfo,
  rows: TensorInfo | null,
  block: Block,
  size: Sizes,
  scale: number,
): void {
  const { i0, i1, group, queryBase, sight } = block;
  const to = memory.view(target);
  const from = rows && memory.view(rows);
  let at = 0;
  for (let r = 0; r < size.ratio; r++) {
    for (let i = i0; i < i1; i++, at += size.d) {
      const start = ((queryBase + i) * size.heads + group * size.ratio + r) * size.d;
      if (!from || sight.first_S[i] < 0) to.fill(0, start, start + size.d);
      else for (let c = 0; c < size.d; c++) to[start + c] = from[at + c] * scale;
    }
  }
}

/** The block's key or value rows [w, d]. */
function takeKeys(memory: HostMemory, tensor: TensorInfo, block: Block, size: Sizes): TensorInfo {
  const { j0, j1, group, keyBase } = block;
  const result = memory.allocate([j1 - j0, size.d]);
  const [from, to] = [memory.view(tensor), memory.view(result)];
  let at = 0;
  for (let j = j0; j < j1; j++) {
    const start = ((keyBase + j) * size.groups + group) * size.d;
    for (let c = start; c < start + size.d; c++) to[at++] = from[c];
  }
  return result;
}

/** Adds [w, d] rows to where `takeKeys` took them. */
function addKeys(memory: HostMemory, target: TensorInfo, rows: TensorInfo, block: Block, size: Sizes): void {
  const { j0, j1, group, keyBase } = block;
  const [from, to] = [memory.view(rows), memory.view(target)];
  let at = 0;
  for (let j = j0; j < j1; j++) {
    const start = ((keyBase + j) * size.groups + group) * size.d;
    for (let c = start; c < start + size.d; c++) to[c] += from[at++];
  }
}

/** Attention weights p [n, w] of a block; a row without keys holds equal weights that the caller must not use. */
function weightsOf(
  memory: HostMemory,
  queries: TensorInfo,
  keys: TensorInfo,
  block: Block,
  { keys: sk, queries: sq, ratio }: Sizes,
  { querySegment_BS, keySegment_BS }: AttentionAttributes,
): TensorInfo {
  const scores = straightProduct(memory, queries, keys, RIGHT_TURNED);
  const s = memory.view(scores);
  const { i0, i1, j0, j1, sight } = block;
  const b = block.queryBase / sq;
  let row = 0;
  for (let r = 0; r < ratio; r++) {
    for (let i = i0; i < i1; i++, row += j1 - j0) {
      const segment = querySegment_BS[b * sq + i];
      s.fill(BLOCKED, row, row + Math.max(0, sight.first_S[i] - j0));
      s.fill(BLOCKED, row + Math.max(0, sight.last_S[i] + 1 - j0), row + j1 - j0);
      if (!sight.holes_S[i]) continue;
      for (let j = sight.first_S[i]; j <= sight.last_S[i]; j++) {
        if (keySegment_BS[b * sk + j] !== segment) s[row + j - j0] = BLOCKED;
      }
    }
  }
  if (memory.kernels) return seenSoftmax(memory, scores, block);
  const weights = memory.run('Softmax', { logits: scores }, { dim: 1 });
  memory.release(scores);
  return weights;
}

/** Softmax in place over the columns that each row may see, with zeros elsewhere; the scores must not be packed. For
 *  backends whose own softmax is no faster than this loop. */
function seenSoftmax(memory: HostMemory, scores: TensorInfo, { i0, i1, j0, sight }: Block): TensorInfo {
  const [n, w] = scores.shape;
  const s = memory.view(scores);
  for (let row = 0; row < n; row++) {
    const i = i0 + (row % (i1 - i0));
    const start = row * w;
    const [first, last] = [start + Math.max(0, sight.first_S[i] - j0), start + Math.max(0, sight.last_S[i] + 1 - j0)];
    s.fill(0, start, first);
    s.fill(0, last, start + w);
    softmaxInto(s, s, first, last);
  }
  return scores;
}

registerHostKernel<AttentionAttributes>('MoeAttention', (memory, { q, k, v }, attributes) => {
  const size = sizesOf(q, k);
  const out = memory.allocate(q.shape);
  for (const block of blocksOf(size, attributes)) {
    if (block.j0 === block.j1) {
      putQueries(memory, out, null, block, size, 1);
      continue;
    }
    const queries = takeQueries(memory, q, block, size, 1 / Math.sqrt(size.d));
    const keys = takeKeys(memory, k, block, size);
    const values = takeKeys(memory, v, block, size);
    const weights = weightsOf(memory, queries, keys, block, size, attributes);
    const mixed = straightProduct(memory, weights, values, PLAIN);
    putQueries(memory, out, mixed, block, size, 1);
    memory.release(queries, keys, values, weights, mixed);
  }
  return [out];
});

registerHostKernel<AttentionAttributes>('MoeAttentionGrad', (memory, { q, k, v, gradient }, attributes) => {
  const size = sizesOf(q, k);
  const scale = 1 / Math.sqrt(size.d);
  const [dq, dk, dv] = [q, k, v].map(tensor => memory.allocate(tensor.shape));
  memory.view(dk).fill(0);
  memory.view(dv).fill(0);
  for (const block of blocksOf(size, attributes)) {
    if (block.j0 === block.j1) {
      putQueries(memory, dq, null, block, size, 1);
      continue;
    }
    const queries = takeQueries(memory, q, block, size, scale);
    const upstream = takeQueries(memory, gradient, block, size, 1);
    const keys = takeKeys(memory, k, block, size);
    const values = takeKeys(memory, v, block, size);
    const weights = weightsOf(memory, queries, keys, block, size, attributes);
    const dWeights = straightProduct(memory, upstream, values, RIGHT_TURNED);
    const dScores = scoreGradients(memory, weights, dWeights, block);
    const dQueries = straightProduct(memory, dScores, keys, PLAIN);
    const dKeys = straightProduct(memory, dScores, queries, LEFT_TURNED);
    const dValues = straightProduct(memory, weights, upstream, LEFT_TURNED);
    putQueries(memory, dq, dQueries, block, size, scale);
    addKeys(memory, dk, dKeys, block, size);
    addKeys(memory, dv, dValues, block, size);
    memory.release(queries, upstream, keys, values, weights, dWeights, dScores, dQueries, dKeys, dValues);
  }
  return [dq, dk, dv];
});

/** ds = p ⊙ (dp − Σ_j p dp) of a block; in rows without keys it is zero, and so p is made. */
function scoreGradients(memory: HostMemory, weights: TensorInfo, dWeights: TensorInfo, block: Block): TensorInfo {
  const [n, w] = weights.shape;
  const dScores = memory.allocate([n, w]);
  const [p, dp, ds] = [weights, dWeights, dScores].map(memory.view);
  const { i0, i1, j0, sight } = block;
  for (let row = 0; row < n; row++) {
    const i = i0 + (row % (i1 - i0));
    const start = row * w;
    const [first, last] = [start + sight.first_S[i] - j0, start + sight.last_S[i] + 1 - j0];
    if (sight.first_S[i] < 0) {
      p.fill(0, start, start + w);
      ds.fill(0, start, start + w);
      continue;
    }
    let mean = 0;
    for (let j = first; j < last; j++) mean += p[j] * dp[j];
    ds.fill(0, start, first);
    for (let j = first; j < last; j++) ds[j] = p[j] * (dp[j] - mean);
    ds.fill(0, last, start + w);
  }
  return dScores;
}
