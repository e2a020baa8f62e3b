// A pruned layer counts the experts that are left from 0; languages and traces name them as before the pruning.
// This is where the two ways of counting meet.
import type { Routing } from '../../routing/types.ts';
import { tf } from '../engine/tf.ts';

/** The layer's own number of each id; −1 for an expert that is gone, and for −1. */
export const ownNumbers = (expert_T: Int32Array, kept: readonly number[]): Int32Array =>
  expert_T.map(expert => kept.indexOf(expert));

/** The routing with experts by their ids before the pruning. */
export function namedRouting(routing: Routing, kept: readonly number[]): Routing {
  const { expertId_TK } = routing;
  if (expertId_TK instanceof Int32Array)
    return { ...routing, expertId_TK: expertId_TK.map(expert => (expert < 0 ? expert : kept[expert])) };
  return { ...routing, expertId_TK: tf.gather(tf.tensor1d(kept as number[], 'int32'), expertId_TK) };
}
