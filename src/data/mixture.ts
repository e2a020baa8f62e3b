// How much of each language is seen: p ∝ bytes^α with at most so many epochs per language, what a full language cannot take
// going to the others (water-filling); and ApolloMoE's way, one weighted draw of all samples without replacement.
// G languages, N documents.
import seedrandom from 'seedrandom';
import { UserError } from '../errors.ts';

export interface MixtureInput {
  /** UTF-8 bytes of training text per language: what the exponent applies to, so that the tokenizer does not matter. */
  bytes_G: ArrayLike<number>;
  /** Tokens of training text per language: what an epoch is counted in. 0 means no text. */
  tokens_G: ArrayLike<number>;
  /** Tokens that the whole training will read. */
  budget: number;
  /** 1 proportional to the text, 0 equal for all; 0.3 is usual for many languages. */
  alpha: number;
  /** Cap of epochs per language, Infinity for none. */
  maxEpochs: number;
}

export interface Mixture {
  /** Share of the tokens read, sum 1; 0 for a language without text. */
  share_G: Float64Array;
  /** Epochs that the budget makes of each language. */
  epochs_G: Float64Array;
  /** Languages held at the cap. */
  capped_G: boolean[];
  /** False when the budget is more than all languages at their cap: then all are read equally often, more often than asked. */
  withinCap: boolean;
}

/** Shares p_g ∝ bytes_g^α, with epochs_g = p_g · budget / tokens_g ≤ maxEpochs wherever the budget allows it.
 *  Errors: no language with text, a budget or cap that is not positive. */
export function mixtureShares({ bytes_G, tokens_G, budget, alpha, maxEpochs }: MixtureInput): Mixture {
  if (!(budget > 0)) throw new UserError(`the number of tokens to train on is ${budget}; give a positive number`);
  if (!(maxEpochs > 0)) throw new UserError(`the cap of epochs per language is ${maxEpochs}; give a positive number`);
  const size = tokens_G.length;
  const weight_G = Float64Array.from(tokens_G, (tokens, g) => (tokens > 0 ? bytes_G[g] ** alpha : 0));
  if (!weight_G.some(weight => weight > 0))
    throw new UserError('no language has any training text; add a source of text');
  const cap_G = Float64Array.from(tokens_G, tokens => (maxEpochs * tokens) / budget);
  const capSum = cap_G.reduce((sum, cap, g) => sum + (weight_G[g] > 0 ? cap : 0), 0);
  const withinCap = capSum >= 1;
  const share_G = withinCap ? fill(weight_G, cap_G) : cap_G.map((cap, g) => (weight_G[g] > 0 ? cap / capSum : 0));
  return {
    share_G,
    epochs_G: share_G.map((share, g) => (tokens_G[g] > 0 ? (share * budget) / tokens_G[g] : 0)),
    capped_G: Array.from({ length: size }, (_, g) => weight_G[g] > 0 && share_G[g] >= cap_G[g] * (1 - 1e-12)),
    withinCap,
  };
}

/** Shares ∝ weight, none over its cap: each round fixes the languages that would exceed theirs and shares out the rest. */
function fill(weight_G: Float64Array, cap_G: Float64Array): Float64Array {
  const share_G = new Float64Array(weight_G.length);
  const open = new Set(weight_G.keys());
  let left = 1;
  for (;;) {
    let weightSum = 0;
    for (const g of open) weightSum += weight_G[g];
    if (weightSum === 0) return share_G;
    const over = [...open].filter(g => (weight_G[g] / weightSum) * left > cap_G[g]);
    if (over.length === 0) {
      for (const g of open) share_G[g] = (weight_G[g] / weightSum) * left;
      return share_G;
    }
    for (const g of over) {
      share_G[g] = cap_G[g];
      left -= cap_G[g];
      open.delete(g);
    }
  }
}

/** Weight and epochs of a sample in the paper's draw, by the kind of its source key. */
export interface DrawSetting {
  weight: number;
  epochs: number;
}
/** ApolloMoE's data script: questions made from texts (`…_qa`) come early and once, all else twice and later. */
export const PAPER_DRAW: { qa: DrawSetting; other: DrawSetting } = {
  qa: { weight: 16, epochs: 1 },
  other: { weight: 2, epochs: 2 },
};
/** Seeds of the reference's sampler: 3407 for the family model, 42 for the others. */
export const PAPER_DRAW_SEED = 3407;

/** One weighted draw without replacement over a pool that holds sample n `epochs` times: indices of samples in the order
 *  drawn, a pure function of the settings and the seed. Drawing by weight one after the other equals sorting by
 *  Exponential(1)/weight (Efraimidis and Spirakis 2006). */
export function weightedDraw(settings_N: DrawSetting[], seed: string | number): Int32Array {
  const random = seedrandom(`draw/${seed}`);
  const pool = settings_N.flatMap(({ weight, epochs }, sample) =>
    Array.from({ length: epochs }, () => ({ sample, key: -Math.log(1 - random()) / weight })),
  );
  pool.sort((a, b) => a.key - b.key || a.sample - b.sample);
  return Int32Array.from(pool, entry => entry.sample);
}

/** The paper's draw over documents: those whose source key ends in `_qa` weigh more and come once, the others twice. */
export function paperDraw(sources_N: string[], seed: string | number = PAPER_DRAW_SEED, draw = PAPER_DRAW): Int32Array {
  return weightedDraw(
    sources_N.map(source => (source.endsWith('_qa') ? draw.qa : draw.other)),
    seed,
  );
}
