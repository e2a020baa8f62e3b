// Reading many tensors of a device in one round trip: they are laid end to end as fp32 and read as one.
import { type Tensor, tf } from './tf.ts';

/** A tensor, or numbers that are on the host already and pass as they are. */
export type Readable = Tensor | Int32Array | Float32Array | Float64Array;
export type HostNumbers = Int32Array | Float32Array | Float64Array;

const isTensor = (readable: Readable): readable is Tensor => !ArrayBuffer.isView(readable);

/** The values of each member of each group, read once everything before them has run. What is read stays the caller's.
 *  Integers come as fp32, so they must be below 2^24 to be exact. @throws what the device throws when it is lost */
export async function readTogether(...groups: (readonly Readable[])[]): Promise<HostNumbers[][]> {
  const tensors = groups
    .flat()
    .filter(isTensor)
    .filter(({ size }) => size > 0);
  const values = tensors.length > 0 ? await readFlat(tensors) : new Float32Array();
  let end = 0;
  const take = (readable: Readable): HostNumbers => {
    if (!isTensor(readable)) return readable;
    end += readable.size;
    return values.subarray(end - readable.size, end);
  };
  return groups.map(group => group.map(take));
}

async function readFlat(tensors: Tensor[]): Promise<Float32Array> {
  const flat = tf.tidy(() => tf.concat(tensors.map(tensor => tensor.flatten().toFloat())));
  try {
    return await flat.data<'float32'>();
  } finally {
    flat.dispose();
  }
}
