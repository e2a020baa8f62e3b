// One MoE layer of a model: gathers its weights by name, asks experts/layer.ts, and weighs its auxiliary losses.

import type { FfnWeights } from '../../experts/ffn.ts';
import { type MoeWeights, moeLayer } from '../../experts/layer.ts';
import { checkActs } from '../../routing/intervene/acts.ts';
import type { RouterEdit } from '../../routing/intervene/edit.ts';
import { type Scalar, type Tensor2D, tf } from '../engine/tf.ts';
import { UserError } from '../errors.ts';
import type { ForwardOptions, Intervention, LayerWeights } from './forward-options.ts';
import { namedRouting, ownNumbers } from './kept-experts.ts';
import { expertsIn, type ModelSpec } from './spec.ts';
import type { TokenInput } from './token-input.ts';
import type { Model } from './weights.ts';

export interface MoeBlockResult {
  y_TD: Tensor2D;
  /** Layer-wise losses times their coefficients; null when all coefficients are 0. */
  auxiliary: Scalar | null;
  /** Kept for a balance loss that pools all layers. */
  probabilities_TE: Tensor2D;
}

/** @param x_TD the normed hidden states [T, D] */
export function moeBlock(
  model: Pick<Model, 'spec' | 'selectionBias'>,
  layer: number,
  x_TD: Tensor2D,
  weight: LayerWeights,
  tokens: TokenInput,
  options: ForwardOptions,
): MoeBlockResult {
  const { router, num_experts_per_tok, norm_topk_prob, capacity_factor } = model.spec;
  const applyExperts = options.applyExperts?.bind(null, layer);
  const kept = model.spec.kept_experts?.[layer];
  const languageExpert_T =
    tokens.languageExpert_T && (kept ? ownNumbers(tokens.languageExpert_T, kept) : tokens.languageExpert_T);
  const out = moeLayer(
    x_TD,
    moeWeights(model.spec, weight, applyExperts === undefined ? expertsIn(model.spec, layer) : 0),
    { languageExpert_T, counted_T: tokens.counted_T, tokenId_T: tokens.id_T },
    {
      kind: router.kind,
      k: num_experts_per_tok,
      mode: options.mode,
      normalise: norm_topk_prob,
      hintBias: router.hint_bias,
      selectionBias_E: router.bias_rate > 0 ? model.selectionBias.get(layer) : undefined,
      dispatch: 'tf',
      capacityFactor: capacity_factor,
      balance: 'assigned',
      applyExperts,
      edit: options.intervention && editOf(options.intervention, model.spec, layer, tokens),
    },
  );
  options.onRouting?.(layer, kept ? namedRouting(out.routing, kept) : out.routing, out.load_E);
  const terms: Scalar[] = [];
  if (router.balance_coefficient > 0 && router.balance_scope === 'layer')
    terms.push(tf.mul(out.auxiliary.balance, router.balance_coefficient));
  if (router.z_coefficient > 0) terms.push(tf.mul(out.auxiliary.z, router.z_coefficient));
  const auxiliary = terms.length > 0 ? tf.addN(terms) : null;
  return { y_TD: out.y_TD, auxiliary, probabilities_TE: out.routing.probabilities_TE };
}

/** What an intervention does in a layer; undefined where it does nothing. */
function editOf(
  { acts, told }: Intervention,
  spec: ModelSpec,
  layer: number,
  tokens: TokenInput,
): RouterEdit | undefined {
  const asked = acts.get(layer);
  if (!asked) return undefined;
  if (spec.kept_experts) throw new UserError('The model is pruned: intervene on the one that it was made from.');
  checkActs(asked, layer, spec.numExperts, spec.num_experts_per_tok);
  return { acts: asked, acted_T: tokens.acted_T ?? null, told: told && ((all, flipped) => told(layer, all, flipped)) };
}

/** One expert of a layer. */
export const expertWeights = (weight: LayerWeights, expert: number): FfnWeights =>
  ffnWeights(weight, `mlp.experts.${expert}`);

function ffnWeights(weight: LayerWeights, at: string): FfnWeights {
  return {
    gate_proj: weight(`${at}.gate_proj.weight`) as Tensor2D,
    up_proj: weight(`${at}.up_proj.weight`) as Tensor2D,
    down_proj: weight(`${at}.down_proj.weight`) as Tensor2D,
  };
}

/** @param experts how many to take up */
function moeWeights(spec: ModelSpec, weight: LayerWeights, experts: number): MoeWeights {
  return {
    router_ED: weight('mlp.gate.weight') as Tensor2D,
    experts: Array.from({ length: experts }, (_, e) => expertWeights(weight, e)),
    shared: spec.shared_expert
      ? {
          ffn: ffnWeights(weight, 'mlp.shared_expert'),
          sharedGate_1D: weight('mlp.shared_expert_gate.weight') as Tensor2D,
        }
      : undefined,
  };
}
