// The two ends of a streamed pass. Embedding: only the rows that occur are read. Head: losses and logits over blocks of the
// vocabulary where it is not held whole, by a running sum of exponentials: loss = ln Σ_v e^l(v) − l(label), so that no [T, V]
// array is needed; held whole, a token's loss is the ordinary one.
// Shapes: T tokens, D width, V vocabulary, U ids that occur, R rows whose losses are asked for, v rows of a block of the head.

import { filledTensor, valuesInPlace } from '../engine/in-place.ts';
import { crossEntropy } from '../engine/ops/cross-entropy.ts';
import { embedding } from '../engine/ops/embedding.ts';
import { linear } from '../engine/ops/linear.ts';
import { pickColumns } from '../engine/ops/pick-columns.ts';
import { rmsNorm } from '../engine/ops/rms-norm.ts';
import { type Tensor1D, type Tensor2D, tf } from '../engine/tf.ts';
import { readFloat32Into } from '../hub/read-into.ts';
import { partOf } from '../hub/read-safetensors.ts';
import type { LayerPass } from './layers.ts';
import { headOf } from './source.ts';

/** Writes the first hidden states of all pieces. */
export function embed({ model, activations, pieces }: Pick<LayerPass, 'model' | 'activations' | 'pieces'>): void {
  const { entry } = model.tensors.get('model.embed_tokens.weight')!;
  const D = model.spec.hidden_size;
  for (const { tokens, start } of pieces) {
    const ids_U = Int32Array.from(new Set(tokens.id_T)).sort();
    const place = new Map(Array.from(ids_U, (id, u) => [id, u]));
    tf.tidy(() => {
      const table_UD = filledTensor<Tensor2D>([ids_U.length, D], values => {
        runsOf(ids_U, (first, count, u) =>
          readFloat32Into(partOf(entry, first * D, [count, D]), values.subarray(u * D, (u + count) * D)),
        );
      });
      const x_TD = embedding(
        table_UD,
        tokens.id_T.map(id => place.get(id)!),
      );
      activations.write(start * D, valuesInPlace(x_TD));
    });
  }
}

/** Rising ids as runs without a gap: first id, how many, place of the first. */
function runsOf(ids_U: Int32Array, take: (first: number, count: number, place: number) => void): void {
  for (let from = 0, end = 0; from < ids_U.length; from = end) {
    end = from + 1;
    while (end < ids_U.length && ids_U[end] === ids_U[end - 1] + 1) end++;
    take(ids_U[from], end - from, from);
  }
}

export interface HeadSizes {
  headRows: number;
  headTokens: number;
}

type HeadPass = Pick<LayerPass, 'model' | 'activations' | 'arena'> & HeadSizes;

/** Some tokens, by their places among all, for which logits are made together. */
interface Chunk {
  /** First of them in the list that was asked for. */
  first: number;
  at_R: Int32Array;
}

const chunksOf = (at_R: Int32Array, size: number): Chunk[] =>
  Array.from({ length: Math.ceil(at_R.length / size) }, (_, i) => ({
    first: i * size,
    at_R: at_R.subarray(i * size, (i + 1) * size),
  }));

/** Calls `use` in a tidy with the logits [R, v] of each chunk over each block of the vocabulary, blocks outermost. */
async function eachBlock(
  pass: HeadPass,
  at_R: Int32Array,
  use: (logits_Rv: Tensor2D, chunk: Chunk, from: number) => void,
  pause: () => Promise<void>,
): Promise<void> {
  if (at_R.length === 0) return;
  const { model, arena, headRows } = pass;
  const { vocab_size: V } = model.spec;
  const norm_D = arena.load([model.tensors.get('model.norm.weight')!])[0] as Tensor1D;
  const before = arena.held();
  try {
    for (let from = 0; from < V; from += headRows) {
      const [block_vD] = arena.load([headOf(model)], [from, Math.min(V, from + headRows)]);
      for (const chunk of chunksOf(at_R, pass.headTokens)) {
        tf.tidy(() => {
          const x_RD = rmsNorm(rowsAt(pass, chunk.at_R), norm_D, model.spec.rms_norm_eps);
          use(linear(x_RD, block_vD as Tensor2D), chunk, from);
        });
        await pause();
      }
      arena.release(before);
    }
  } finally {
    arena.release();
  }
}

function rowsAt({ model, activations }: HeadPass, at_R: Int32Array): Tensor2D {
  const D = model.spec.hidden_size;
  return filledTensor([at_R.length, D], values => {
    for (const [r, at] of at_R.entries()) activations.read(at * D, values.subarray(r * D, (r + 1) * D));
  });
}

/** Loss of the tokens at `at_R`, nats. */
export async function lossesAt(
  pass: HeadPass,
  at_R: Int32Array,
  label_R: Int32Array,
  pause: () => Promise<void>,
): Promise<Float32Array> {
  const whole = pass.headRows >= pass.model.spec.vocab_size;
  const loss_R = new Float32Array(at_R.length);
  if (whole) {
    const own = (logits: Tensor2D, { first, at_R: { length } }: Chunk): void =>
      loss_R.set(valuesInPlace(crossEntropy(logits, label_R.subarray(first, first + length))), first);
    await eachBlock(pass, at_R, own, pause);
    return loss_R;
  }
  const top_R = new Float64Array(at_R.length).fill(Number.NEGATIVE_INFINITY);
  const sum_R = new Float64Array(at_R.length);
  const label = new Float64Array(at_R.length);
  const add = (r: number, normaliser: number): void => {
    const top = Math.max(top_R[r], normaliser);
    sum_R[r] = sum_R[r] * Math.exp(top_R[r] - top) + Math.exp(normaliser - top);
    top_R[r] = top;
  };
  await eachBlock(
    pass,
    at_R,
    (logits_Rv, { first, at_R: { length } }, from) => {
      const v = logits_Rv.shape[1];
      // A label elsewhere is stood in for by the block's first column: loss + its logit is the block's normaliser in any case.
      const inBlock_R = label_R
        .subarray(first, first + length)
        .map(id => (id >= from && id < from + v ? id - from : -1));
      const stand_R = inBlock_R.map(id => Math.max(0, id));
      const own_R = valuesInPlace(crossEntropy(logits_Rv, stand_R));
      const logit_R = valuesInPlace(pickColumns(logits_Rv, stand_R, 1));
      for (let r = 0; r < length; r++) {
        add(first + r, own_R[r] + logit_R[r]);
        if (inBlock_R[r] >= 0) label[first + r] = logit_R[r];
      }
    },
    pause,
  );
  return loss_R.map((_, r) => top_R[r] + Math.log(sum_R[r]) - label[r]);
}

/** Logits of the tokens at `at_R`, [R, V] row-major. */
export async function logitsAt(pass: HeadPass, at_R: Int32Array, pause: () => Promise<void>): Promise<Float32Array> {
  const V = pass.model.spec.vocab_size;
  const logits_RV = new Float32Array(at_R.length * V);
  await eachBlock(
    pass,
    at_R,
    (logits_Rv, { first, at_R: { length } }, from) => {
      const v = logits_Rv.shape[1];
      const values = valuesInPlace(logits_Rv);
      for (let r = 0; r < length; r++) logits_RV.set(values.subarray(r * v, (r + 1) * v), (first + r) * V + from);
    },
    pause,
  );
  return logits_RV;
}
