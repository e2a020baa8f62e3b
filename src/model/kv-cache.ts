// Keys and values of the tokens already seen, so that generation computes each token once. Inference only.
// Shapes: B sequences, S positions, G key/value heads, d head width.
import { gatherRows } from '../engine/ops/gather-rows.ts';
import { type Tensor2D, type Tensor4D, tf } from '../engine/tf.ts';

export interface LayerCache {
  /** Adds new positions and returns everything so far: keys, values and their segments. */
  append(k_BSGd: Tensor4D, v_BSGd: Tensor4D, segment_BS: Int32Array): [Tensor4D, Tensor4D, Int32Array];
}
export interface KvCache {
  layers: LayerCache[];
  /** Goes on with these of the sequences, in this order; one may come several times or not at all. */
  select(sequence_B: Int32Array): void;
  dispose(): void;
}

export function createCache(numLayers: number): KvCache {
  const layers = Array.from({ length: numLayers }, createLayerCache);
  return {
    layers,
    select: sequence_B => {
      for (const layer of layers) layer.select(sequence_B);
    },
    dispose: () => {
      for (const layer of layers) layer.dispose();
    },
  };
}

function createLayerCache(): LayerCache & Pick<KvCache, 'select' | 'dispose'> {
  let keys: Tensor4D | undefined;
  let values: Tensor4D | undefined;
  let segments = new Int32Array(0);
  const dispose = (): void => {
    keys?.dispose();
    values?.dispose();
  };
  return {
    append(k_BSGd, v_BSGd, segment_BS) {
      const grown: [Tensor4D, Tensor4D] = [grow(keys, k_BSGd), grow(values, v_BSGd)];
      segments = growSegments(segments, segment_BS, k_BSGd.shape[0]);
      dispose();
      [keys, values] = grown;
      return [keys, values, segments];
    },
    select(sequence_B) {
      if (!keys || !values) return;
      const chosen: [Tensor4D, Tensor4D] = [selectRows(keys, sequence_B), selectRows(values, sequence_B)];
      segments = selectSegments(segments, sequence_B, keys.shape[0]);
      dispose();
      [keys, values] = chosen;
    },
    dispose,
  };
}

const selectRows = (x_BSGd: Tensor4D, sequence_B: Int32Array): Tensor4D =>
  tf.tidy(() => {
    const [B, ...rest] = x_BSGd.shape;
    const rows: Tensor2D = gatherRows(x_BSGd.reshape([B, -1]), sequence_B);
    return tf.keep(rows.reshape([sequence_B.length, ...rest] as Tensor4D['shape']));
  });

function selectSegments(old: Int32Array, sequence_B: Int32Array, batch: number): Int32Array<ArrayBuffer> {
  const length = old.length / batch;
  return Int32Array.from({ length: sequence_B.length * length }, (_, i) => {
    const from = sequence_B[Math.floor(i / length)];
    return old[from * length + (i % length)];
  });
}

const grow = (old: Tensor4D | undefined, added: Tensor4D): Tensor4D =>
  tf.keep(old ? tf.concat([old, added], 1) : tf.clone(added));

function growSegments(old: Int32Array, added: Int32Array, batch: number): Int32Array<ArrayBuffer> {
  const before = old.length / batch;
  const more = added.length / batch;
  const out = new Int32Array(old.length + added.length);
  for (let b = 0; b < batch; b++) {
    out.set(old.subarray(b * before, (b + 1) * before), b * (before + more));
    out.set(added.subarray(b * more, (b + 1) * more), b * (before + more) + before);
  }
  return out;
}
