// The router's decision for one layer: logits in, chosen experts and differentiable gates out. No weights move here.
//   p = softmax(z) over all E, in fp32;  S = selector(p);  gate_j = p[S_j], or p[S_j] / Σ p[S] when normalised.
// The choice is made on the host from p, so the integers are a pure function of the scores; gradients flow through p alone.
// Shapes: T tokens, E experts, k experts per token.
import { pickColumns } from '../src/engine/ops/pick-columns.ts';
import { type Tensor2D, tf } from '../src/engine/tf.ts';
import { UserError } from '../src/errors.ts';
import { expertChoice } from './expert-choice.ts';
import { hashRouting } from './hash.ts';
import { hybridK } from './hybrid-k.ts';
import { languageSpecific } from './language.ts';
import { MODES, type RouteOptions, type Routing, type Selection, type TokenInfo } from './types.ts';

/** A chosen mass below this is taken as this, so that a token without any mass gets gates of 0 instead of 0/0; its square,
 *  which the gradient divides by, is still an fp32 number. */
const LEAST_MASS = 1e-18;

/** Routes T tokens from their router logits [T, E] (the hint is added here, not by the caller).
 *  Throws UserError for k above E, a mode the kind has no meaning for, and missing or impossible language experts. */
export function route(logits_TE: Tensor2D, tokens: TokenInfo, options: RouteOptions): Routing {
  const numExperts = logits_TE.shape[1];
  checkOptions(numExperts, tokens, options);
  let selection: Selection | undefined;
  const [gate_TK, probabilities_TE] = tf.tidy(() => {
    const p_TE = tf.softmax(options.mode === 'hinted' ? addHint(logits_TE, tokens, options.hintBias) : logits_TE);
    selection = select(p_TE.dataSync() as Float32Array, numExperts, tokens, options);
    return [chosenGates(p_TE, selection, options.normalise), p_TE];
  });
  const { expertId_TK, k } = selection!;
  return { expertId_TK, gate_TK, probabilities_TE, k };
}

function select(p_TE: Float32Array, numExperts: number, tokens: TokenInfo, options: RouteOptions): Selection {
  const { kind, k, mode, selectionBias_E } = options;
  if (kind === 'hash') return hashRouting(tokens.tokenId_T, numExperts, k, options.hash ?? { seed: 0, gate: 'equal' });
  // A bias on a whole column cannot change which tokens an expert prefers, so expert choice ignores it.
  if (kind === 'expert-choice') return expertChoice(p_TE, numExperts, k, tokens.counted_T);
  const score_TE = selectionBias_E ? p_TE.map((p, i) => p + selectionBias_E[i % numExperts]) : p_TE;
  const { languageExpert_T, counted_T } = tokens;
  const forced_T = mode === 'forced' ? languageExpert_T! : new Int32Array(counted_T.length).fill(-1);
  if (kind === 'language') return languageSpecific(score_TE, numExperts, forced_T);
  return { expertId_TK: hybridK(score_TE, numExperts, k, forced_T), k }; // nobody forced: plain top-k
}

/** Chosen probabilities [T, k]; empty slots are 0, and slots with a gate of their own get that. */
function chosenGates(p_TE: Tensor2D, { expertId_TK, k, fixedGate_TK }: Selection, normalise: boolean): Tensor2D {
  const learned_TK = fixedGate_TK ? expertId_TK.map((e, slot) => (fixedGate_TK[slot] >= 0 ? -1 : e)) : expertId_TK;
  let gate_TK = pickColumns(p_TE, learned_TK, k);
  if (fixedGate_TK) {
    const fixed_TK = fixedGate_TK.map(gate => Math.max(gate, 0));
    gate_TK = gate_TK.add(tf.tensor2d(fixed_TK, [p_TE.shape[0], k]));
  }
  if (!normalise) return gate_TK;
  const mass_T1 = gate_TK.sum<Tensor2D>(1, true);
  return gate_TK.div(mass_T1.maximum(LEAST_MASS));
}

/** Adds the bonus to the logit of each token's language expert; tokens of unknown language are left alone. */
function addHint(logits_TE: Tensor2D, tokens: TokenInfo, hintBias: number): Tensor2D {
  const [count, numExperts] = logits_TE.shape;
  const hint_TE = new Float32Array(count * numExperts);
  tokens.languageExpert_T!.forEach((languageExpert, t) => {
    if (languageExpert >= 0) hint_TE[t * numExperts + languageExpert] = hintBias;
  });
  return logits_TE.add(tf.tensor2d(hint_TE, [count, numExperts]));
}

function checkOptions(numExperts: number, { languageExpert_T }: TokenInfo, { kind, k, mode }: RouteOptions): void {
  if (!Number.isInteger(k) || k < 1 || k > numExperts) {
    throw new UserError(
      `k = ${k} experts per token is impossible with ${numExperts} experts: choose 1 to ${numExperts}.`,
    );
  }
  if (kind === 'language' && k !== 1) {
    throw new UserError(`Language-specific routing uses one expert per token but k = ${k}: set k to 1.`);
  }
  if (!MODES[kind].includes(mode)) {
    throw new UserError(`Router ${kind} has no mode ${mode}: use ${MODES[kind].join(' or ')}, or router hybrid-k.`);
  }
  if (mode === 'free') return;
  if (!languageExpert_T) {
    throw new UserError(`Routing mode ${mode} needs the language of each token but none was given: use mode free.`);
  }
  const wrong = languageExpert_T.findIndex(e => e >= numExperts);
  if (wrong >= 0) {
    throw new UserError(
      `Token ${wrong} asks for language expert ${languageExpert_T[wrong]} but the layer has ${numExperts} experts: ` +
        'use the families file that the model was trained with.',
    );
  }
}
