// What every router answers, and what may be asked of it.
// Shapes: T tokens, E experts, k experts per token.
import type { Integers } from '../src/engine/integers.ts';
import type { Tensor2D } from '../src/engine/tf.ts';
import type { RouterEdit } from './intervene/edit.ts';

/** How the language's own expert is treated. `forced`: always among the k (hybrid-k). `hinted`: its logit gets a bonus
 *  before the softmax. `free`: plain top-k; the language id is ignored. Chosen separately for training and inference. */
export type RoutingMode = 'forced' | 'hinted' | 'free';

/** `hybrid-k` and `top-k` differ only in which modes they are meant for; `language` is the language-specific baseline. */
export type RouterKind = 'top-k' | 'hybrid-k' | 'language' | 'expert-choice' | 'hash';

/** The modes each kind has a meaning for. */
export const MODES: Record<RouterKind, readonly RoutingMode[]> = {
  'top-k': ['free', 'hinted'],
  'hybrid-k': ['free', 'hinted', 'forced'],
  language: ['free', 'hinted', 'forced'],
  'expert-choice': ['free', 'hinted'],
  hash: ['free'],
};

export interface RouteOptions {
  kind: RouterKind;
  /** Experts per token (k). For expert choice: the mean number of experts per token. */
  k: number;
  mode: RoutingMode;
  /** Divide the k chosen probabilities by their sum. The paper does not (`norm_topk_prob: false`). */
  normalise: boolean;
  /** Added to the language expert's logit in mode `hinted`. */
  hintBias: number;
  /** Loss-free balancing bias b_E: added to the scores for selection only, never to the gates. */
  selectionBias_E?: Float32Array;
  /** Hash routing only: which fixed hash, and whether gates are 1/k (no learned router, the default) or probabilities. */
  hash?: { seed: number; gate: 'equal' | 'probability' };
  /** Changes the logits before softmax and choice. For inference: no gradient flows through an edited row. */
  edit?: RouterEdit;
}

/** Which experts were chosen: what every selector answers, on the host when it ran there. */
export interface Selection<Ids extends Integers = Int32Array> {
  /** [T·k] chosen experts, −1 "no expert". */
  expertId_TK: Ids;
  k: number;
  /** [T·k] gates that do not come from the router (language-specific, hash); negative: take the probability. */
  fixedGate_TK?: Float32Array;
  /** [T·k] 0 where a chosen expert is to add nothing, else 1. */
  audible_TK?: Float32Array;
}

/** What is known of each token besides its hidden state. Padding: language expert −1, `counted_T` 0. */
export interface TokenInfo {
  /** Expert that serves the token's language, −1 unknown or padding. Null when no language ids are given. */
  languageExpert_T: Int32Array | null;
  /** 1 for a real token, 0 for padding: padding is routed like any token but never counted or balanced. */
  counted_T: Uint8Array;
  /** Vocabulary ids, needed by hash routing only. */
  tokenId_T: Int32Array;
}

/** The answer. The integers are a pure function of the scores, equal on every backend; on webgpu they stay on the GPU. */
export interface Routing<Ids extends Integers = Integers> {
  /** [T·k] chosen experts, by falling score; ties by the lower id. A negative id means "no expert" (expert choice). */
  expertId_TK: Ids;
  /** [T, k] differentiable gate weights. */
  gate_TK: Tensor2D;
  /** [T, E] differentiable softmax over all experts, fp32. */
  probabilities_TE: Tensor2D;
  /** Experts per token, the row length of expertId_TK. */
  k: number;
}
