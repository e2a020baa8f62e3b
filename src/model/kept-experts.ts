// A pruned layer counts the experts that are left from 0; languages, acts and traces name them as before the pruning.
// This is where the two ways of counting meet.
import type { Act } from '../../routing/intervene/acts.ts';
import type { Routing } from '../../routing/types.ts';
import { tf } from '../engine/tf.ts';
import { UserError } from '../errors.ts';

/** The layer's own number of each id; −1 for an expert that is gone, and for −1. */
export const ownNumbers = (expert_T: Int32Array, kept: readonly number[]): Int32Array =>
  expert_T.map(expert => kept.indexOf(expert));

/** The acts on the layer's own experts. @throws UserError for an expert that is gone */
export function ownActs(acts: readonly Act[], kept: readonly number[]): Act[] {
  return acts.map(act => {
    if (act.kind === 'share') return { ...act, share_E: kept.map(expert => act.share_E[expert]) };
    const gone = act.experts.find(expert => !kept.includes(expert));
    if (gone !== undefined)
      throw new UserError(
        `Expert ${gone} was pruned from this layer, which has ${kept.join(', ')}: choose among these.`,
      );
    return { ...act, experts: act.experts.map(expert => kept.indexOf(expert)) };
  });
}

/** The routing with experts by their ids before the pruning. */
export function namedRouting(routing: Routing, kept: readonly number[]): Routing {
  const { expertId_TK } = routing;
  if (expertId_TK instanceof Int32Array)
    return { ...routing, expertId_TK: expertId_TK.map(expert => (expert < 0 ? expert : kept[expert])) };
  return { ...routing, expertId_TK: tf.gather(tf.tensor1d(kept as number[], 'int32'), expertId_TK) };
}
