// Arithmetic of the measured work, counted from its shape: a product [m, k] [k, n] is 2mkn operations, and its two
// gradients as many again each. Causal attention counts the pairs that are seen. Norms and softmaxes are not counted.
import type { LayerShape, Shape } from './shapes.ts';

/** Passes of the products: forward, and the gradients of either side. */
export const FORWARD = 1;
export const TRAINING_STEP = 3;

/** Floating-point operations of all products of one pass over B × S tokens. */
export function modelOperations(shape: Shape, passes: number): number {
  const { width: D, heads, keyValueHeads, layers, moeLayers, batch, sequence } = shape;
  const tokens = batch * sequence;
  const projections = 2 * D * D + 2 * D * D * (keyValueHeads / heads);
  const dense = 3 * D * shape.feedForward;
  const sparse = D * shape.experts + shape.expertsPerToken * 3 * D * shape.expertWidth;
  const head = D * shape.vocabulary;
  const perToken = layers * projections + (layers - moeLayers) * dense + moeLayers * sparse + head;
  const seen = batch * ((sequence * (sequence + 1)) / 2); // pairs of query and key; scores and mixing, over D channels
  return passes * 2 * (tokens * perToken + layers * seen * 2 * D);
}

/** One MoE layer, forward and backward. */
export function layerOperations({ tokens, width, expertWidth, experts, expertsPerToken }: LayerShape): number {
  return TRAINING_STEP * 2 * tokens * (width * experts + expertsPerToken * 3 * width * expertWidth);
}

/** A square product of size n. */
export const productOperations = (n: number): number => 2 * n ** 3;
