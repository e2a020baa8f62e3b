// Gradient accumulation. Micro-batch i has the mean loss over its n_i learned tokens and gradient g_i; the gradient of the
// mean over all tokens is Σ n_i g_i / Σ n_i. So any split of a batch gives the big batch's gradient, up to fp32 rounding,
// even when the parts hold different numbers of tokens. Losses that are not means over tokens (balance, z) are
// weighted in the same way: their value on the whole batch is approximated by the mean over its parts.
import type { Tensor } from '../engine/tf.ts';
import { tf } from '../engine/tf.ts';

export interface Accumulated {
  /** Owned by the caller. Empty when no micro-batch had a token. */
  gradients: Map<string, Tensor>;
  /** Learned tokens of all micro-batches. */
  tokens: number;
}

export interface Accumulator {
  /** Takes over (and disposes) one micro-batch's gradients. Without tokens they are dropped: a mean over nothing is NaN. */
  add(gradients: Map<string, Tensor>, tokens: number): void;
  /** The weighted mean since the last finish; the accumulator is empty afterwards. One micro-batch alone passes bit for bit. */
  finish(): Accumulated;
  /** Drops what was added, for a step that is given up. */
  dispose(): void;
}

const disposeAll = (gradients: Map<string, Tensor>): void => {
  for (const gradient of gradients.values()) gradient.dispose();
};

/** What is held between `add`s: the plain gradients of one micro-batch, or Σ n_i g_i of several. */
interface Sum {
  gradients: Map<string, Tensor>;
  tokens: number;
  weighted: boolean;
}

/** Replaces each tensor of the map by `change` of it. */
function replaceAll(gradients: Map<string, Tensor>, change: (gradient: Tensor) => Tensor): void {
  for (const [name, gradient] of gradients) {
    gradients.set(
      name,
      tf.tidy(() => change(gradient)),
    );
    gradient.dispose();
  }
}

function addWeighted(sum: Sum, gradients: Map<string, Tensor>, tokens: number): void {
  if (!sum.weighted) replaceAll(sum.gradients, gradient => tf.mul(gradient, sum.tokens));
  sum.weighted = true;
  sum.tokens += tokens;
  for (const [name, gradient] of gradients) {
    const before = sum.gradients.get(name);
    const after = tf.tidy(() => {
      const scaled = tf.mul(gradient, tokens);
      return before ? tf.add(before, scaled) : scaled;
    });
    sum.gradients.set(name, after);
    before?.dispose();
    gradient.dispose();
  }
}

/** An empty accumulator. A parameter without gradient in some micro-batch counts as zero there. */
export function createAccumulator(): Accumulator {
  let sum: Sum | null = null;
  return {
    add(gradients, tokens) {
      if (tokens === 0) disposeAll(gradients);
      else if (sum) addWeighted(sum, gradients, tokens);
      else sum = { gradients: new Map(gradients), tokens, weighted: false };
    },
    finish() {
      const { gradients, tokens, weighted } = sum ?? { gradients: new Map(), tokens: 0, weighted: false };
      sum = null;
      if (weighted) replaceAll(gradients, gradient => tf.div(gradient, tokens));
      return { gradients, tokens };
    },
    dispose() {
      if (sum) disposeAll(sum.gradients);
      sum = null;
    },
  };
}
