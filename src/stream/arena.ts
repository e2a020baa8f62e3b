// One piece of memory for the weights of a streamed pass: what a layer or an expert needs is read into it, over what was there.
import { halfTensor } from '../engine/half.ts';
import { filledTensor, valuesInPlace } from '../engine/in-place.ts';
import { type Tensor, tf } from '../engine/tf.ts';
import { readBytesInto, readFloat32Into } from '../hub/read-into.ts';
import { alignedBytes, type StoredTensor } from './source.ts';

export interface Arena {
  /** Reads tensors behind what is held. `rows`: only these rows of matrices, [from, end). Answers them in order. */
  load(tensors: readonly StoredTensor[], rows?: [from: number, end: number]): Tensor[];
  /** How much is held, for `release`. */
  held(): number;
  /** Frees what was loaded since so much was held. */
  release(held?: number): void;
  dispose(): void;
}

/** @param bytes the most that is held at once */
export function openArena(bytes: number): Arena {
  const room = tf.keep(filledTensor([Math.ceil(bytes / 4)], () => {}));
  const values = valuesInPlace(room);
  const loaded: { tensor: Tensor; from: number }[] = [];
  let used = 0;
  const place = (size: number): number => {
    if (used + size > values.byteLength) throw new Error(`${used + size} bytes of weights in an arena of ${bytes}`);
    used += size;
    return values.byteOffset + used - size;
  };
  const read = (stored: StoredTensor, rows?: [number, number]): Tensor => {
    const { shape, entry } = rowsOf(stored, rows);
    const count = tf.util.sizeFromShape(shape);
    const from = used;
    const at = place(alignedBytes(count * (stored.half ? 2 : 4)));
    const tensor = tf.keep(stored.half ? inHalves() : inFloats());
    loaded.push({ tensor, from });
    return tensor;

    function inHalves(): Tensor {
      readBytesInto(entry, new Uint8Array(values.buffer, at, count * 2));
      return halfTensor(new Uint16Array(values.buffer, at, count), shape);
    }
    function inFloats(): Tensor {
      const own = new Float32Array(values.buffer, at, count);
      if (stored.values) own.set(stored.values());
      else readFloat32Into(entry, own);
      return tf.tensor(own, shape, 'float32');
    }
  };
  const release = (held = 0): void => {
    while (loaded.length > 0 && loaded.at(-1)!.from >= held) loaded.pop()!.tensor.dispose();
    used = held;
  };
  return {
    load: (tensors, rows) => tensors.map(stored => read(stored, rows)),
    held: () => used,
    release,
    dispose() {
      release();
      room.dispose();
    },
  };
}

/** A tensor, or some rows of it as if they were one. */
function rowsOf(
  { spec: { shape }, entry }: StoredTensor,
  rows?: [number, number],
): Pick<StoredTensor, 'entry'> & { shape: number[] } {
  if (!rows) return { shape, entry };
  const [from, end] = rows;
  const bytes = entry.byteLength / shape[0];
  const start = entry.start + from * bytes;
  return { shape: [end - from, ...shape.slice(1)], entry: { ...entry, start, byteLength: (end - from) * bytes } };
}
