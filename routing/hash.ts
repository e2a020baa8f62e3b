// Hash routing (Roller et al. 2021, arXiv 2106.04426): the token id alone decides, through a fixed random-looking hash.
// No router is learned: gates are 1/k unless probabilities are asked for. tokenId_T [T] → expertId_TK [T, k], in draw order.
import type { Selection } from './types.ts';

/** k different experts of E for each token id: the first k steps of a shuffle of 0..E−1 driven by the hash of (seed, id). */
export function hashRouting(
  tokenId_T: Int32Array,
  numExperts: number,
  k: number,
  hash: { seed: number; gate: 'equal' | 'probability' },
): Selection {
  const expertId_TK = new Int32Array(tokenId_T.length * k);
  const expert_E = new Int32Array(numExperts);
  tokenId_T.forEach((tokenId, t) => {
    for (let e = 0; e < numExperts; e++) expert_E[e] = e;
    let state = mix(mix(hash.seed) ^ tokenId);
    for (let j = 0; j < k; j++) {
      state = mix(state + j);
      const pick = j + (state % (numExperts - j));
      expertId_TK[t * k + j] = expert_E[pick];
      expert_E[pick] = expert_E[j];
    }
  });
  if (hash.gate === 'probability') return { expertId_TK, k };
  return { expertId_TK, k, fixedGate_TK: new Float32Array(expertId_TK.length).fill(1 / k) };
}

/** The finishing steps of MurmurHash3 (public domain): every input bit reaches every output bit. Unsigned 32-bit. */
function mix(value: number): number {
  let h = (value + 0x9e3779b9) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
