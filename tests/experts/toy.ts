// Small random layers for the tests of this room, and two readers of tensors.
import seedrandom from 'seedrandom';
import type { MoeOptions, MoeWeights } from '../../experts/layer.ts';
import type { TokenInfo } from '../../routing/types.ts';
import { type Tensor, type Tensor2D, tf } from '../../src/engine/tf.ts';

export interface Sizes {
  tokens: number;
  width: number;
  expertWidth: number;
  experts: number;
}

/** The settings of the paper in training; tests change what they are about. */
export const PAPER: MoeOptions = {
  kind: 'hybrid-k',
  k: 2,
  mode: 'forced',
  normalise: false,
  hintBias: 0,
  dispatch: 'tf',
  capacityFactor: null,
  balance: 'assigned',
};

/** Uniform numbers of variance 1 times `scale`. */
export function randomMatrix(rows: number, columns: number, scale: number, random: () => number): Tensor2D {
  const draw = () => scale * Math.sqrt(12) * (random() - 0.5);
  return tf.tensor2d(Float32Array.from({ length: rows * columns }, draw), [rows, columns]);
}

/** x, weights and token information from a seed. Make it inside tf.tidy. */
export function toyLayer({ tokens, width, expertWidth, experts }: Sizes, seed: string) {
  const random = seedrandom(seed);
  const ffn = () => ({
    gate_proj: randomMatrix(expertWidth, width, 0.5, random),
    up_proj: randomMatrix(expertWidth, width, 0.5, random),
    down_proj: randomMatrix(width, expertWidth, 0.5, random),
  });
  const x_TD = randomMatrix(tokens, width, 1, random);
  const weights = {
    router_ED: randomMatrix(experts, width, 0.7, random),
    experts: Array.from({ length: experts }, ffn),
    shared: { ffn: ffn(), sharedGate_1D: randomMatrix(1, width, 0.5, random) },
  } satisfies MoeWeights;
  const info: TokenInfo = {
    languageExpert_T: Int32Array.from({ length: tokens }, () => Math.floor(random() * (experts + 1)) - 1),
    counted_T: Uint8Array.from({ length: tokens }, () => (random() < 0.8 ? 1 : 0)),
    tokenId_T: Int32Array.from({ length: tokens }, () => Math.floor(random() * 1000)),
  };
  return { x_TD, weights, tokens: info, upstream_TD: randomMatrix(tokens, width, 1, random) };
}

/** Every tensor of a layer in one list, and the way back, so that tf.grads can be asked for all of them. */
export function flattenWeights({ router_ED, experts, shared }: MoeWeights): Tensor[] {
  const networks = shared ? [...experts, shared.ffn] : experts;
  const list: Tensor[] = networks.flatMap(({ gate_proj, up_proj, down_proj }) => [gate_proj, up_proj, down_proj]);
  return shared ? [router_ED, ...list, shared.sharedGate_1D] : [router_ED, ...list];
}
export function unflattenWeights(list: Tensor[], experts: number, hasShared: boolean): MoeWeights {
  const tensor = (i: number) => list[i] as Tensor2D;
  const network = (i: number) => ({
    gate_proj: tensor(1 + 3 * i),
    up_proj: tensor(2 + 3 * i),
    down_proj: tensor(3 + 3 * i),
  });
  const weights: MoeWeights = { router_ED: tensor(0), experts: Array.from({ length: experts }, (_, e) => network(e)) };
  if (!hasShared) return weights;
  return { ...weights, shared: { ffn: network(experts), sharedGate_1D: tensor(list.length - 1) } };
}

/** tf.tidy for functions that return host data, whose type tfjs does not allow. Tensors in the answer live on. */
export const tidied = <T>(make: () => T): T => tf.tidy(make as never) as T;

export const valuesOf = (tensor: Tensor): Float32Array => tensor.dataSync<'float32'>().slice();

/** Largest |a − b| relative to the largest |b|, or to 1 where b is smaller. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  let largest = 1;
  for (let i = 0; i < a.length; i++) {
    const error = Math.abs(a[i] - b[i]);
    if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, error);
    largest = Math.max(largest, Math.abs(b[i]));
  }
  return worst / largest;
}
