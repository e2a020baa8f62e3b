// How many counted slots each expert got: the integer behind the balance loss, the load-balancing bias and the progress bar.
// expertId_TK [T, k], counted_T [T] → load_E [E].
import type { Integers } from '../src/engine/integers.ts';
import { type Tensor1D, tf } from '../src/engine/tf.ts';
import { loadOnGpu } from './webgpu.ts';

/** Slots per expert: on the host where the choice was made there, else a tensor, so that nothing waits for it. */
export type Load = Float64Array | Tensor1D;

/** Counts slots per expert; padding (`counted_T` 0) and empty slots (−1) do not count. */
export function expertLoad(
  expertId_TK: Int32Array,
  k: number,
  numExperts: number,
  counted_T: Uint8Array,
): Float64Array<ArrayBuffer>;
export function expertLoad(expertId_TK: Integers, k: number, numExperts: number, counted_T: Uint8Array): Load;
export function expertLoad(expertId_TK: Integers, k: number, numExperts: number, counted_T: Uint8Array): Load {
  return expertId_TK instanceof Int32Array
    ? countOnHost(expertId_TK, k, numExperts, counted_T)
    : loadOnGpu(expertId_TK, Int32Array.from(counted_T), numExperts);
}

/** The counts on the host. */
export const readLoad = async (load_E: Load): Promise<Float64Array> =>
  load_E instanceof Float64Array ? load_E : Float64Array.from(await load_E.data());

/** Each expert's share of `total` slots; of all of them when left out. 0 everywhere when there are none. */
export function loadShare(load_E: Load, total?: number): Tensor1D {
  if (!(load_E instanceof Float64Array)) return tf.div(load_E, total ?? tf.maximum(tf.sum(load_E), 1));
  const slots =
    total ??
    Math.max(
      1,
      load_E.reduce((sum, load) => sum + load, 0),
    );
  return tf.tensor1d(Float32Array.from(load_E, load => load / slots));
}

function countOnHost(
  expertId_TK: Int32Array,
  k: number,
  numExperts: number,
  counted_T: Uint8Array,
): Float64Array<ArrayBuffer> {
  const load_E = new Float64Array(numExperts);
  expertId_TK.forEach((e, slot) => {
    if (e >= 0 && counted_T[Math.floor(slot / k)] === 1) load_E[e] += 1;
  });
  return load_E;
}
