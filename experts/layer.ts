// The mixture-of-experts layer, top to bottom: router → choice → (capacity) → plan → dispatch → experts → combine (+ shared).
//   y_t = Σ_{j in S_t} gate_tj · FFN_j(x_t)  [+ sigmoid(w·x_t) · FFN_shared(x_t)].
// Shapes: T tokens, D width, E experts, k experts per token. The residual stream is added by the caller.
import { type BalanceSource, balanceLoss, zLoss } from '../routing/balance.ts';
import { applyCapacity, expertCapacity } from '../routing/capacity.ts';
import { expertLoad, type Load } from '../routing/load.ts';
import { route } from '../routing/router.ts';
import type { RouteOptions, Routing, TokenInfo } from '../routing/types.ts';
import { linear } from '../src/engine/ops/linear.ts';
import { type Scalar, type Tensor, type Tensor2D, tf } from '../src/engine/tf.ts';
import { dispatchByOneHot } from './dispatch/one-hot.ts';
import { type DispatchPlan, planDispatch } from './dispatch/plan.ts';
import { type ApplyExperts, dispatchByGather } from './dispatch/tf.ts';
import { capacityOnGpu, planOnGpu } from './dispatch/webgpu.ts';
import { type FfnWeights, groupedFfn } from './ffn.ts';
import { type SharedExpertWeights, sharedExpert } from './shared.ts';

export interface MoeWeights {
  /** Hugging Face's mlp.gate.weight [E, D]. */
  router_ED: Tensor2D;
  /** E networks, by expert id; not read where `applyExperts` is given. */
  experts: readonly FfnWeights[];
  shared?: SharedExpertWeights;
}
export interface MoeOptions extends RouteOptions {
  /** `tf`: gathers and per-expert products. `one-hot`: the masked products of GShard, a baseline for tests and benchmarks. */
  dispatch: 'tf' | 'one-hot';
  /** Slots per expert as a multiple of the even share; null is dropless. */
  capacityFactor: number | null;
  /** Where the balance loss takes its load from. */
  balance: BalanceSource;
  /** Runs the experts, where they are not in memory all at once. */
  applyExperts?: ApplyExperts;
}
export interface MoeOutput {
  y_TD: Tensor2D;
  /** What was chosen, before any capacity limit. */
  routing: Routing;
  /** What was served. */
  plan: DispatchPlan;
  /** [E] counted slots per chosen expert: for load displays and loss-free balancing. */
  load_E: Load;
  /** Slots that did not fit; 0 when dropless, a [1] tensor where they were counted on a GPU. */
  dropped: number | Tensor;
  /** Unweighted losses of this layer; add them to the training loss with coefficients of your own. */
  auxiliary: { balance: Scalar; z: Scalar };
}

/** Runs the layer on x_TD [T, D]. Differentiable in x and all weights. Throws UserError as `route` does. */
export function moeLayer(x_TD: Tensor2D, weights: MoeWeights, tokens: TokenInfo, options: MoeOptions): MoeOutput {
  let routing!: Routing;
  let served!: { plan: DispatchPlan; dropped: number | Tensor };
  let load_E!: Load;
  const numExperts = weights.router_ED.shape[0];
  const { y_TD, balance, z } = tf.tidy(() => {
    const logits_TE = linear(x_TD, weights.router_ED);
    routing = route(logits_TE, tokens, options);
    served = planServed(routing, numExperts, tokens.counted_T, options);
    load_E = expertLoad(routing.expertId_TK, routing.k, numExperts, tokens.counted_T);
    const routed_TD = mix(x_TD, routing.gate_TK, served.plan, weights.experts, options);
    return {
      y_TD: weights.shared ? routed_TD.add<Tensor2D>(sharedExpert(x_TD, weights.shared)) : routed_TD,
      balance: balanceLoss(routing, tokens.counted_T, options.balance),
      z: zLoss(logits_TE, tokens.counted_T),
      kept: [routing, served, served.plan, load_E].flatMap(tensorsIn), // named here only so that tidy lets them live
    };
  });
  return { y_TD, routing, ...served, load_E, auxiliary: { balance, z } };
}

/** The tensors among an object's fields, or the tensor that it is. */
const tensorsIn = (fields: object): Tensor[] =>
  [fields, ...Object.values(fields)].filter(field => field instanceof tf.Tensor);

/** Applies the capacity limit, if there is one, and plans what is left. Padding takes no place from a real token. */
function planServed({ expertId_TK, k }: Routing, numExperts: number, counted_T: Uint8Array, options: MoeOptions) {
  const tokens = counted_T.reduce((sum, counted) => sum + counted, 0);
  const { capacityFactor } = options;
  const capacity = capacityFactor === null ? null : expertCapacity(capacityFactor, tokens, options.k, numExperts);
  if (!(expertId_TK instanceof Int32Array)) {
    if (capacity === null) return { plan: planOnGpu(expertId_TK, k, numExperts), dropped: 0 };
    const kept = capacityOnGpu(expertId_TK, Int32Array.from(counted_T), k, numExperts, capacity);
    return { plan: planOnGpu(kept.expertId_TK, k, numExperts), dropped: kept.dropped };
  }
  if (capacity === null) return { plan: planDispatch(expertId_TK, k, numExperts), dropped: 0 };
  const wanted_TK = expertId_TK.map((e, slot) => (counted_T[Math.floor(slot / k)] === 1 ? e : -1));
  const kept = applyCapacity(wanted_TK, k, numExperts, capacity);
  return { plan: planDispatch(kept.expertId_TK, k, numExperts), dropped: kept.dropped };
}

/** Moves rows to their experts and back by the asked path. */
function mix(
  x_TD: Tensor2D,
  gate_TK: Tensor2D,
  plan: DispatchPlan,
  experts: readonly FfnWeights[],
  options: Pick<MoeOptions, 'dispatch' | 'applyExperts'>,
): Tensor2D {
  const applyExperts: ApplyExperts =
    options.applyExperts ?? ((rows_MD, offsets_E1) => groupedFfn(rows_MD, experts, offsets_E1));
  const dispatch = options.dispatch === 'tf' ? dispatchByGather : dispatchByOneHot;
  return dispatch(x_TD, gate_TK, plan, applyExperts);
}
