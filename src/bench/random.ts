// Weights, tokens and inputs from a seed. One table of normal numbers is read round and round: half a billion fresh draws
// would take a minute, and the time of a product does not depend on its numbers.
import type { Batch, BatchStream } from '../data/types.ts';
import { halfTensor } from '../engine/half.ts';
import { type Tensor, tf, type Variable } from '../engine/tf.ts';
import { float32ToBfloat16 } from '../hub/half.ts';
import type { TensorSpec } from '../model/spec.ts';
import { createRng, type Rng } from '../train/rng.ts';
import { type Shape, sizeOf } from './shapes.ts';

const TABLE = 2 ** 20 - 3; // a prime, so that no row length divides it
const SCALE = 0.02; // standard deviation of fresh weights, as in training

/** Answers arrays of numbers from N(0, scale), each going on where the last one stopped. */
export function normals(seed: string): (length: number, scale: number) => Float32Array {
  const { gaussian } = createRng(seed);
  const table = Float32Array.from({ length: TABLE }, gaussian);
  let at = 0;
  return (length, scale) => {
    const values = new Float32Array(length);
    for (let i = 0; i < length; i++) {
      values[i] = scale * table[at];
      at = at + 1 === TABLE ? 0 : at + 1;
    }
    return values;
  };
}

export const WEIGHTS = ['fp32', 'bf16'] as const;
export type WeightType = (typeof WEIGHTS)[number];

/** Fresh weights on the backend, one tensor at a time: norms 1, biases 0, the rest N(0, 0.02).
 *  @param type of the matrices, but for routers: as inference keeps those of a BF16 checkpoint */
export function randomWeights(
  tensors: readonly TensorSpec[],
  seed: number,
  type: WeightType = 'fp32',
): Map<string, Variable> {
  const draw = normals(`${seed}/weights`);
  const weights = new Map<string, Variable>();
  for (const { name, shape, role } of tensors) {
    const size = sizeOf(shape);
    const constant = role === 'norm' || role === 'bias';
    const values = constant ? new Float32Array(size).fill(role === 'norm' ? 1 : 0) : draw(size, SCALE);
    const half = type === 'bf16' && shape.length === 2 && role !== 'router';
    const tensor = (): Tensor =>
      half ? halfTensor(float32ToBfloat16(values), shape) : tf.tensor(values, shape, 'float32');
    weights.set(
      name,
      tf.tidy(() => tf.variable(tensor())),
    );
  }
  return weights;
}

/** Random ids, a row of S + 1 per sequence: all but the last are read, all but the first are to be predicted. */
export const randomIds = ({ batch, sequence, vocabulary }: Shape, rng: Rng): Int32Array =>
  Int32Array.from({ length: batch * (sequence + 1) }, () => rng.integer(vocabulary));

/** One document per row. */
export function batchOf({ batch, sequence }: Shape, ids: Int32Array): Batch {
  const at = <T>(value: (row: number, position: number) => T): T[] =>
    Array.from({ length: batch * sequence }, (_, i) => value(Math.floor(i / sequence), i % sequence));
  const row_BS = Int32Array.from(at(row => row));
  return {
    batch,
    sequence,
    inputId_BS: Int32Array.from(at((row, s) => ids[row * (sequence + 1) + s])),
    label_BS: Int32Array.from(at((row, s) => ids[row * (sequence + 1) + s + 1])),
    language_BS: new Int32Array(batch * sequence),
    document_BS: row_BS,
    position_BS: Int32Array.from(at((_, s) => s)),
    segment_BS: row_BS,
  };
}

/** Endless batches of random ids. */
export function randomStream(shape: Shape, seed: number): BatchStream {
  const rng = createRng(`${seed}/tokens`);
  return { next: () => batchOf(shape, randomIds(shape, rng)), state: () => ({}) };
}
