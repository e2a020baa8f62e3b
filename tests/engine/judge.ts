// One judgement for all operations: values and gradients of the operation and of its plain-tfjs reference against
// double-precision loops and their central differences, the same bits on repeat, and nothing left behind.
import { expect } from 'vitest';
import type { Tensor } from '../../src/engine/tf.ts';
import { tf } from '../../src/engine/tf.ts';
import type { Values } from './float64.ts';

export interface Subject {
  /** Shapes of the differentiable inputs. */
  shapes: number[][];
  seed: number;
  operation: (...inputs: Tensor[]) => Tensor;
  reference?: (...inputs: Tensor[]) => Tensor;
  truth: (...inputs: Values[]) => Values;
}

const VALUE_TOLERANCE = 2e-5;
const GRADIENT_TOLERANCE = 1e-3;
const STEP = 1e-5;

export async function judge(subject: Subject): Promise<void> {
  const random = generator(subject.seed);
  const values = subject.shapes.map(shape => Float64Array.from({ length: sizeOf(shape) }, () => Math.fround(random())));
  const want = subject.truth(...values);
  const cotangent = want.map(() => Math.fround(random()));
  const wantGradients = centralDifferences(subject.truth, values, cotangent);
  const first = await run(subject.operation, subject.shapes, values, cotangent);
  const again = await run(subject.operation, subject.shapes, values, cotangent);
  expect(again, 'the same bits on repeat').toEqual(first);
  compare('operation', first, want, wantGradients);
  if (subject.reference) {
    const reference = await run(subject.reference, subject.shapes, values, cotangent);
    compare('reference', reference, want, wantGradients);
  }
}

function compare(
  who: string,
  got: { value: Float32Array; gradients: Float32Array[] },
  want: Values,
  grads: Values[],
): void {
  expectClose(`${who} value`, got.value, want, VALUE_TOLERANCE);
  grads.forEach((gradient, i) => {
    expectClose(`${who} gradient ${i}`, got.gradients[i], gradient, GRADIENT_TOLERANCE);
  });
}

/** Each element within `tolerance` of what is wanted, relative to its size or to the root mean square of them all. */
export function expectClose(what: string, got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number): void {
  expect(got.length, `${what}: how many`).toBe(want.length);
  let squares = 0;
  for (let i = 0; i < want.length; i++) squares += want[i] ** 2;
  const typical = Math.sqrt(squares / want.length);
  for (let i = 0; i < want.length; i++) {
    const bound = tolerance * Math.max(Math.abs(want[i]), typical) + 1e-9;
    if (!(Math.abs(got[i] - want[i]) <= bound)) expect.fail(`${what}[${i}] is ${got[i]}, wanted ${want[i]}`);
  }
}

async function run(f: (...inputs: Tensor[]) => Tensor, shapes: number[][], values: Values[], cotangent: Values) {
  const before = held();
  const inputs = values.map((value, i) => tf.tensor(Float32Array.from(value), shapes[i]));
  const bare = tf.tidy(() => f(...inputs));
  const upstream = tf.tensor(Float32Array.from(cotangent), bare.shape);
  const { value, grads } = tf.valueAndGrads(f)(inputs, upstream);
  const [untaped, taped, ...gradients] = await Promise.all([bare, value, ...grads].map(read));
  tf.dispose([...inputs, bare, upstream, value, ...grads]);
  expect(taped, 'the same value with and without a tape').toEqual(untaped);
  expect(held(), 'left behind').toEqual(before);
  return { value: taped, gradients };
}

const read = async (tensor: Tensor): Promise<Float32Array> => ((await tensor.data()) as Float32Array).slice();

/** Tensors and buffers as tfjs counts them, and buffers as the backend does: a kernel's scratch shows only there. */
const held = () => [tf.memory().numTensors, tf.memory().numDataBuffers, tf.backend().numDataIds()];

function centralDifferences(truth: Subject['truth'], inputs: Values[], cotangent: Values): Values[] {
  const loss = () => truth(...inputs).reduce((sum, value, i) => sum + value * cotangent[i], 0);
  return inputs.map(input =>
    input.map((value, i) => {
      input[i] = value + STEP;
      const above = loss();
      input[i] = value - STEP;
      const below = loss();
      input[i] = value;
      return (above - below) / (2 * STEP);
    }),
  );
}

const sizeOf = (shape: number[]): number => shape.reduce((product, n) => product * n, 1);

/** Numbers in about −2..2, the same for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * 4 - 2;
  };
}
