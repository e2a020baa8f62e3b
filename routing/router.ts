// The router's decision for one layer: logits in, chosen experts and differentiable gates out. No weights move here.
//   p = softmax(z) over all E, in fp32;  S = selector(p);  gate_j = p[S_j], or p[S_j] / Σ p[S] when normalised.
// The choice is made from p, on the host or by a GPU kernel, so the integers are a pure function of the scores; gradients flow
// through p alone.
// Shapes: T tokens, E experts, k experts per token.
import type { Integers } from '../src/engine/integers.ts';
import { pickColumns } from '../src/engine/ops/pick-columns.ts';
import { type Tensor2D, tf } from '../src/engine/tf.ts';
import { UserError } from '../src/errors.ts';
import { expertChoice } from './expert-choice.ts';
import { hashRouting } from './hash.ts';
import { hybridK } from './hybrid-k.ts';
import { editLogits, editProbabilities, silencedSlots, tellFlips } from './intervene/edit.ts';
import { languageGates, languageSpecific } from './language.ts';
import { MODES, type RouteOptions, type Routing, type Selection, type TokenInfo } from './types.ts';
import { choosesOnGpu, routeOnGpu } from './webgpu.ts';

/** A chosen mass below this is taken as this, so that a token without any mass gets gates of 0 instead of 0/0; its square,
 *  which the gradient divides by, is still an fp32 number. */
const LEAST_MASS = 1e-18;

/** Routes T tokens from their router logits [T, E] (the hint is added here, not by the caller).
 *  Throws UserError for k above E, a mode the kind has no meaning for, and missing or impossible language experts. */
export function route(logits_TE: Tensor2D, tokens: TokenInfo, options: RouteOptions): Routing {
  const numExperts = logits_TE.shape[1];
  checkOptions(numExperts, tokens, options);
  let selection!: Selection<Integers>;
  const [gate_TK, probabilities_TE] = tf.tidy(() => {
    const choose = choosesOnGpu() ? chooseOnGpu : chooseOnHost;
    const { p_TE, ...chosen } = choose(logits_TE, tokens, options);
    selection = chosen;
    const { expertId_TK } = chosen;
    const onDevice = expertId_TK instanceof Int32Array ? [] : [expertId_TK]; // named only so that tidy lets it live
    return [chosenGates(p_TE, selection, options.normalise), p_TE, ...onDevice] as Tensor2D[];
  });
  const { expertId_TK, k } = selection;
  return { expertId_TK, gate_TK, probabilities_TE, k };
}

type Choice = Selection<Integers> & { p_TE: Tensor2D };

function chooseOnHost(logits_TE: Tensor2D, tokens: TokenInfo, options: RouteOptions): Choice {
  const z_TE = options.mode === 'hinted' ? addHint(logits_TE, tokens, options.hintBias) : logits_TE;
  const p_TE = tf.softmax(z_TE);
  const chosen = select(p_TE.dataSync() as Float32Array, logits_TE.shape[1], tokens, options);
  return options.edit ? chooseEdited(z_TE, { p_TE, ...chosen }, tokens, options) : { p_TE, ...chosen };
}

/** The choice after the acts of an intervention. A language expert that is taken away is not forced either. */
function chooseEdited(
  z_TE: Tensor2D,
  before: Selection & { p_TE: Tensor2D },
  tokens: TokenInfo,
  options: RouteOptions,
) {
  const E = z_TE.shape[1];
  const edit = options.edit!;
  const edited = editLogits(z_TE.dataSync<'float32'>(), E, edit);
  let after = before;
  if (edited.changed_T.includes(1)) {
    const p = editProbabilities(before.p_TE.dataSync<'float32'>(), E, edited);
    const score_TE = p.map((value, i) => (edited.barred_TE[i] === 1 ? Number.NEGATIVE_INFINITY : value));
    const languageExpert_T =
      tokens.languageExpert_T?.map((e, t) => (e >= 0 && edited.barred_TE[t * E + e] === 1 ? -1 : e)) ?? null;
    const p_TE = tf.tensor2d(p, [z_TE.shape[0], E]);
    after = { p_TE, ...select(score_TE, E, { ...tokens, languageExpert_T }, options) };
  }
  tellFlips(before.expertId_TK, after.expertId_TK, after.k, tokens.counted_T, edit);
  return { ...after, audible_TK: silencedSlots(after.expertId_TK, after.k, edit) ?? undefined };
}

function chooseOnGpu(logits_TE: Tensor2D, tokens: TokenInfo, options: RouteOptions): Choice {
  const { kind, k, mode, hintBias, selectionBias_E = null, edit } = options;
  if (edit) throw new UserError('Logits are changed on the host, for which webgpu cannot wait: use --backend native.');
  if (kind === 'expert-choice') {
    throw new UserError(
      'Router expert-choice looks at a whole batch on the host, for which webgpu cannot wait: use --backend native or wasm.',
    );
  }
  const { probabilities_TE: p_TE, expertId_TK } = routeOnGpu(logits_TE, {
    k,
    languageExpert_T: mode === 'free' ? null : tokens.languageExpert_T,
    forced: mode === 'forced',
    hintBias: mode === 'hinted' ? hintBias : 0,
    selectionBias_E,
  });
  if (kind === 'hash') return { p_TE, ...hashed(tokens, logits_TE.shape[1], options) };
  if (kind !== 'language' || mode !== 'forced') return { p_TE, expertId_TK, k };
  return { p_TE, expertId_TK, k, fixedGate_TK: languageGates(tokens.languageExpert_T!) };
}

const hashed = ({ tokenId_T }: TokenInfo, numExperts: number, { k, hash }: RouteOptions): Selection =>
  hashRouting(tokenId_T, numExperts, k, hash ?? { seed: 0, gate: 'equal' });

function select(p_TE: Float32Array, numExperts: number, tokens: TokenInfo, options: RouteOptions): Selection {
  const { kind, k, mode, selectionBias_E } = options;
  if (kind === 'hash') return hashed(tokens, numExperts, options);
  // A bias on a whole column cannot change which tokens an expert prefers, so expert choice ignores it.
  if (kind === 'expert-choice') return expertChoice(p_TE, numExperts, k, tokens.counted_T);
  const score_TE = selectionBias_E ? p_TE.map((p, i) => p + selectionBias_E[i % numExperts]) : p_TE;
  const { languageExpert_T, counted_T } = tokens;
  const forced_T = mode === 'forced' ? languageExpert_T! : new Int32Array(counted_T.length).fill(-1);
  if (kind === 'language') return languageSpecific(score_TE, numExperts, forced_T);
  return { expertId_TK: hybridK(score_TE, numExperts, k, forced_T), k }; // nobody forced: plain top-k
}

/** Chosen probabilities [T, k]; empty slots are 0, and slots with a gate of their own get that. */
function chosenGates(
  p_TE: Tensor2D,
  { expertId_TK, k, fixedGate_TK, audible_TK }: Selection<Integers>,
  normalise: boolean,
): Tensor2D {
  let gate_TK = pickColumns(p_TE, expertId_TK, k);
  if (fixedGate_TK) {
    const perSlot = (value: (gate: number) => number) => tf.tensor2d(fixedGate_TK.map(value), gate_TK.shape);
    gate_TK = gate_TK.mul(perSlot(gate => Number(gate < 0))).add(perSlot(gate => Math.max(gate, 0)));
  }
  if (normalise) gate_TK = gate_TK.div(gate_TK.sum<Tensor2D>(1, true).maximum(LEAST_MASS));
  return audible_TK ? gate_TK.mul(tf.tensor2d(audible_TK, gate_TK.shape)) : gate_TK;
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

function checkOptions(numExperts: number, { languageExpert_T }: TokenInfo, options: RouteOptions): void {
  const { kind, k, mode, edit } = options;
  if (!Number.isInteger(k) || k < 1 || k > numExperts) {
    throw new UserError(
      `k = ${k} experts per token is impossible with ${numExperts} experts: choose 1 to ${numExperts}.`,
    );
  }
  if (kind === 'language' && k !== 1) {
    throw new UserError(`Language-specific routing uses one expert per token but k = ${k}: set k to 1.`);
  }
  if (edit && (kind === 'hash' || kind === 'expert-choice')) {
    throw new UserError(
      `Router ${kind} does not choose each token's experts by its logits: there is nothing to change.`,
    );
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
