// Sparse upcycling (Komatsuzaki et al. 2022, arXiv 2212.05055): a dense network's feed-forward weights become E experts.
// Pure functions over host arrays. With exact copies the new layer answers Σ_j gate_j · FFN(x): the dense network itself when
// gates are normalised, the dense network scaled by the chosen probability mass when they are raw (the paper's choice).
import { UserError } from '../src/errors.ts';

/** A feed-forward network on the host, row-major: gate_proj and up_proj [F, D], down_proj [D, F]. */
export interface HostFfn {
  gate_proj: Float32Array;
  up_proj: Float32Array;
  down_proj: Float32Array;
}

/** How router rows start. Random rows have entries N(0, std), so length about std·√D; `orthogonal` and `hidden-mean` rows get
 *  exactly that length, so that all give logits of comparable size. */
export type RouterInit =
  | { kind: 'zero' }
  | { kind: 'normal'; std: number }
  | { kind: 'orthogonal'; std: number }
  /** Normal rows plus a random multiple of the common mean: each gives the mean a further N(0, bias) of logit. */
  | { kind: 'biased'; std: number; bias: number; mean_ED: Float32Array }
  /** Normal rows without their part along the common mean, so that no expert starts as everybody's favourite. */
  | { kind: 'centred'; std: number; mean_ED: Float32Array }
  /** `mean_ED`: mean hidden state at the router's input for each expert's languages, padding left out. */
  | { kind: 'hidden-mean'; std: number; mean_ED: Float32Array };

/** E copies of the dense network. `noise` is the standard deviation of added Gaussian noise relative to each tensor's own;
 *  0 copies exactly, `normal` draws from N(0, 1). The copies never share memory with the original or each other. */
export function upcycleFfn(dense: HostFfn, numExperts: number, noise: number, normal: () => number): HostFfn[] {
  const copy = (w: Float32Array) => {
    if (noise === 0) return w.slice();
    const scale = noise * standardDeviation(w);
    return w.map(value => value + scale * normal());
  };
  return Array.from({ length: numExperts }, () => ({
    gate_proj: copy(dense.gate_proj),
    up_proj: copy(dense.up_proj),
    down_proj: copy(dense.down_proj),
  }));
}

/** A shared expert starts as an exact copy, its gate [1, D] as N(0, std). */
export function upcycleShared(dense: HostFfn, width: number, std: number, normal: () => number) {
  return { ffn: upcycleFfn(dense, 1, 0, normal)[0], sharedGate_1D: normalArray(width, std, normal) };
}

/** Router weights [E, D]. Throws UserError for orthogonal rows with E > D and for hidden means of the wrong size. */
export function initRouter(init: RouterInit, numExperts: number, width: number, normal: () => number): Float32Array {
  if (init.kind === 'zero') return new Float32Array(numExperts * width);
  if (init.kind === 'normal') return normalArray(numExperts * width, init.std, normal);
  const length = init.std * Math.sqrt(width);
  if (init.kind === 'biased') return biasedRows(init, numExperts, width, normal);
  if (init.kind === 'centred') return centredRows(init.mean_ED, numExperts, width, init.std, normal);
  if (init.kind === 'hidden-mean') return hiddenMeanRows(init.mean_ED, numExperts, width, length);
  return orthogonalRows(numExperts, width, length, normal);
}

/** What the upcycled layer must answer at step 0, as a multiple of the dense network, per token: the sum of the token's gates
 *  (1 when normalised), plus the shared expert's sigmoid gate if there is one. gate_TK [T·k] → [T]. */
export function expectedScale(gate_TK: ArrayLike<number>, k: number, sharedGate_T?: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: gate_TK.length / k }, (_, t) => {
    let scale = sharedGate_T?.[t] ?? 0;
    for (let j = 0; j < k; j++) scale += gate_TK[t * k + j];
    return scale;
  });
}

/** Largest |y − scale·dense| over all elements, relative to the largest |dense|. Exact copies stay below about 1e-6 in fp32.
 *  y_TD and dense_TD [T·D], scale_T from expectedScale. */
export function upcyclingError(
  y_TD: ArrayLike<number>,
  dense_TD: ArrayLike<number>,
  scale_T: ArrayLike<number>,
): number {
  const width = y_TD.length / scale_T.length;
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < y_TD.length; i++) {
    const error = Math.abs(y_TD[i] - scale_T[Math.floor(i / width)] * dense_TD[i]);
    worst = Math.max(worst, error); // carries a NaN on: a broken layer must not pass as a small error
    largest = Math.max(largest, Math.abs(dense_TD[i]));
  }
  return worst === 0 ? 0 : worst / largest;
}

/** Mean hidden states as router rows. What all groups share, their common mean, is taken off and rows are made orthogonal to
 *  it: a router has no bias, so the large common part of every hidden state would otherwise drown the differences. */
function hiddenMeanRows(mean_ED: Float32Array, numExperts: number, width: number, length: number): Float32Array {
  const common_D = commonMean('hidden-mean', mean_ED, numExperts, width);
  const rows = Float64Array.from(mean_ED, (value, i) => value - common_D[i % width]);
  for (let e = 0; e < numExperts; e++) removeDirection(rows.subarray(e * width, (e + 1) * width), common_D);
  return scaleRows(rows, width, length);
}

/** Gaussian rows, each with a Gaussian multiple of the common mean m: row·m gains N(0, bias). */
function biasedRows(
  { std, bias, mean_ED }: Extract<RouterInit, { kind: 'biased' }>,
  numExperts: number,
  width: number,
  normal: () => number,
): Float32Array {
  const common_D = commonMean('biased', mean_ED, numExperts, width);
  const rows = normalArray(numExperts * width, std, normal);
  const square = dot(common_D, common_D);
  for (let e = 0; e < numExperts; e++) {
    const favour = square === 0 ? 0 : (bias * normal()) / square;
    for (let d = 0; d < width; d++) rows[e * width + d] += favour * common_D[d];
  }
  return rows;
}

/** Gaussian rows at right angles to the common mean. */
function centredRows(
  mean_ED: Float32Array,
  numExperts: number,
  width: number,
  std: number,
  normal: () => number,
): Float32Array {
  const common_D = commonMean('centred', mean_ED, numExperts, width);
  const rows = Float64Array.from({ length: numExperts * width }, () => std * normal());
  for (let e = 0; e < numExperts; e++) removeDirection(rows.subarray(e * width, (e + 1) * width), common_D);
  return Float32Array.from(rows);
}

function commonMean(start: string, mean_ED: Float32Array, numExperts: number, width: number): Float64Array {
  if (mean_ED.length !== numExperts * width) {
    throw new UserError(
      `Router start ${start} got ${mean_ED.length} numbers but ${numExperts} experts of width ${width} need ` +
        `${numExperts * width}: give one mean hidden state per expert.`,
    );
  }
  const common_D = new Float64Array(width);
  mean_ED.forEach((value, i) => {
    common_D[i % width] += value / numExperts;
  });
  return common_D;
}

/** Gram–Schmidt on Gaussian rows. */
function orthogonalRows(numExperts: number, width: number, length: number, normal: () => number): Float32Array {
  if (numExperts > width) {
    throw new UserError(
      `${numExperts} router rows of width ${width} cannot be orthogonal: use router start normal, or at most ${width} experts.`,
    );
  }
  const rows = Float64Array.from({ length: numExperts * width }, normal);
  for (let e = 0; e < numExperts; e++) {
    const row_D = rows.subarray(e * width, (e + 1) * width);
    for (let other = 0; other < e; other++) {
      removeDirection(row_D, rows.subarray(other * width, (other + 1) * width));
    }
  }
  return scaleRows(rows, width, length);
}

/** Takes the part along `direction_D` off `row_D`, in place. */
function removeDirection(row_D: Float64Array, direction_D: Float64Array): void {
  const square = dot(direction_D, direction_D);
  if (square === 0) return;
  const share = dot(row_D, direction_D) / square;
  direction_D.forEach((value, d) => {
    row_D[d] -= share * value;
  });
}

/** Rows brought to one length; a row of zeros stays. */
function scaleRows(rows: Float64Array, width: number, length: number): Float32Array {
  const scaled = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += width) {
    const row_D = rows.subarray(start, start + width);
    const norm = Math.sqrt(dot(row_D, row_D));
    if (norm > 0)
      scaled.set(
        row_D.map(value => (value * length) / norm),
        start,
      );
  }
  return scaled;
}

function normalArray(size: number, std: number, normal: () => number): Float32Array {
  return Float32Array.from({ length: size }, () => std * normal());
}

function standardDeviation(w: Float32Array): number {
  let mean = 0;
  for (const value of w) mean += value / w.length;
  let variance = 0;
  for (const value of w) variance += (value - mean) ** 2 / w.length;
  return Math.sqrt(variance);
}

function dot(a: Float64Array, b: Float64Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}
