// The dispatch plan by cumulative sums of one-hot rows (GShard, Lepikhin et al. 2020, keeps its positions so), on tensors of any
// backend that has Cumsum: the integers of planDispatch. Slots without an expert are of one expert more, the last, so that
// all N slots have rows of their own, and the scatter that turns slot → row round writes each place once.

import { type Tensor, type Tensor1D, tf } from '../../src/engine/tf.ts';
import type { DispatchPlan } from './plan.ts';

/** The plan of N = T·k int32 ids 0..E−1 or −1, of any shape. slot_M and token_M have N places, −1 beyond the last row. */
export function planByCumulativeSum(expertId_TK: Tensor, k: number, numExperts: number): DispatchPlan<Tensor1D> {
  return tf.tidy(() => {
    const slots = expertId_TK.size;
    const expert_N: Tensor1D = tf.reshape(expertId_TK, [slots]);
    const none_N: Tensor1D = tf.fill([slots], -1, 'int32');
    const has_N = tf.greater(expert_N, none_N);
    const lane_N: Tensor1D = tf.where(has_N, expert_N, tf.fill([slots], numExperts, 'int32'));
    const { rank_N, offsets_E1 } = countBefore(lane_N, numExperts + 1);
    const row_N = tf.add(tf.gather(offsets_E1, lane_N), rank_N) as Tensor1D;
    const place_N = tf.range(0, slots, 1, 'int32');
    const filled_N = tf.less(place_N, tf.slice(offsets_E1, numExperts, 1));
    const slot_N: Tensor1D = slots === 0 ? row_N : tf.scatterND(tf.reshape(row_N, [slots, 1]), place_N, [slots]);
    return {
      rank_N: tf.where(has_N, rank_N, none_N),
      offsets_E1,
      inverse_N: tf.where(has_N, row_N, none_N),
      slot_M: tf.where(filled_N, slot_N, none_N),
      token_M: tf.where(filled_N, tf.floorDiv<Tensor1D>(slot_N, tf.fill([slots], k, 'int32')), none_N),
    };
  });
}

/** How many slots of its own lane are before each, and how many of all lanes below each lane. */
function countBefore(lane_N: Tensor1D, lanes: number): { rank_N: Tensor1D; offsets_E1: Tensor1D } {
  const slots = lane_N.size;
  const hot_NE = tf.cast(tf.equal(tf.reshape(lane_N, [slots, 1]), tf.range(0, lanes, 1, 'int32')), 'int32');
  const before_NE = tf.cumsum(hot_NE, 0, true);
  const rank_N: Tensor1D = tf.sum(tf.mul(hot_NE, before_NE), 1);
  return { rank_N, offsets_E1: tf.cumsum(tf.sum<Tensor1D>(hot_NE, 0), 0, true) };
}
