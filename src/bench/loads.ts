// Which experts the tokens of a benchmark go to, by the shape of the load: ids [T·k], k different experts per token, from a seed.
// zipf draws experts with P(e) ∝ 1 / (e + 1), without replacement; the others are counted out and then shuffled.
import type { Rng } from '../train/rng.ts';

export const LOADS = ['balanced', 'zipf', 'one-hot', 'empty', 'burst'] as const;
export type LoadKind = (typeof LOADS)[number];

export interface LoadShape {
  tokens: number;
  experts: number;
  /** Experts per token; at most `experts`. */
  choices: number;
}

/** Longest run of tokens of one burst. */
const LONGEST_BURST = 512;

/** Expert ids [T·k], slot t·k + j being choice j of token t.
 *  - balanced: each expert gets ⌊Tk/E⌋ or ⌈Tk/E⌉ slots.
 *  - zipf: the expert of rank r is drawn in proportion to 1/r.
 *  - one-hot: the first choice of every token is expert 0; the others are balanced over the rest.
 *  - empty: balanced over every second expert (at least k); the others get nothing.
 *  - burst: runs of 1 to 512 tokens that all make the same choices, as the tokens of one document may. */
export function expertIds(load: LoadKind, { tokens, experts, choices }: LoadShape, rng: Rng): Int32Array {
  if (choices > experts) throw new Error(`${choices} different experts cannot be chosen of ${experts}`);
  const every = Array.from({ length: experts }, (_, e) => e);
  switch (load) {
    case 'balanced':
      return balanced(every, tokens, choices, rng);
    case 'empty':
      return balanced(everySecond(every, choices), tokens, choices, rng);
    case 'one-hot': {
      const others_TK = balanced(every.slice(1), tokens, choices - 1, rng);
      return Int32Array.from({ length: tokens * choices }, (_, slot) => {
        const [t, j] = [Math.floor(slot / choices), slot % choices];
        return j === 0 ? 0 : others_TK[t * (choices - 1) + j - 1];
      });
    }
    case 'zipf': {
      const draw = zipf(experts, rng);
      return perToken(tokens, choices, () => distinct(choices, draw));
    }
    case 'burst': {
      let left = 0;
      let same: number[] = [];
      return perToken(tokens, choices, () => {
        if (left === 0) {
          left = 1 + rng.integer(LONGEST_BURST);
          same = distinct(choices, () => rng.integer(experts));
        }
        left--;
        return same;
      });
    }
  }
}

/** Half of the experts, or as many as a token needs. */
function everySecond(every: number[], choices: number): number[] {
  const [even, odd] = [0, 1].map(rest => every.filter(e => e % 2 === rest));
  return [...even, ...odd].slice(0, Math.max(choices, even.length));
}

/** The experts in turn, slot by slot, so that a token's are different; then whole tokens shuffled (Fisher–Yates). */
function balanced(among: number[], tokens: number, choices: number, rng: Rng): Int32Array {
  const place_T = Int32Array.from({ length: tokens }, (_, t) => t);
  for (let t = tokens - 1; t > 0; t--) {
    const other = rng.integer(t + 1);
    [place_T[t], place_T[other]] = [place_T[other], place_T[t]];
  }
  let t = 0;
  return perToken(tokens, choices, () => {
    const start = place_T[t++] * choices;
    return Array.from({ length: choices }, (_, j) => among[(start + j) % among.length]);
  });
}

function perToken(tokens: number, choices: number, choose: () => number[]): Int32Array {
  const expertId_TK = new Int32Array(tokens * choices);
  for (let t = 0; t < tokens; t++) expertId_TK.set(choose(), t * choices);
  return expertId_TK;
}

/** Draws until there are so many different ones: as drawing without replacement. */
function distinct(count: number, draw: () => number): number[] {
  const chosen: number[] = [];
  while (chosen.length < count) {
    const e = draw();
    if (!chosen.includes(e)) chosen.push(e);
  }
  return chosen;
}

/** Draws e of 0 … E − 1 in proportion to 1 / (e + 1). */
function zipf(experts: number, rng: Rng): () => number {
  const upTo_E = new Float64Array(experts);
  for (let e = 0; e < experts; e++) upTo_E[e] = (e === 0 ? 0 : upTo_E[e - 1]) + 1 / (e + 1);
  return () => {
    const mark = rng.uniform() * upTo_E[experts - 1];
    return upTo_E.findIndex(upTo => mark < upTo);
  };
}
