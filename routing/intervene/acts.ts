// What may be done to the router logits z_E of a token, before softmax and choice; k never changes.
//   soft   z_e += β · sd(z)                    Bandarkar et al. 2510.04694 Eq. 4; sd: population standard deviation of the E logits
//   hard   z_e = max(z) + ε · (m − r)          Eq. 5; r: rank of e among the m experts by id, in place of the published noise
//   off    z_e = min(z) − ε · (1 + r)
//   share  z_e += β · c_e · |z_e|              Chen et al. 2601.14050; a logit of 0 cannot move
//   mask   z_e = −∞: the token takes its next expert
//   zero   z stays; the expert is chosen and adds nothing: what it contributes, without routing anew
// All read the router's own z, not what an act before left. Numbers are rounded to fp32 once, when written.
import { UserError } from '../../src/errors.ts';

export type Act =
  | { kind: 'soft'; experts: readonly number[]; strength: number }
  | { kind: 'hard' | 'off' | 'mask' | 'zero'; experts: readonly number[] }
  | { kind: 'share'; share_E: ArrayLike<number>; strength: number };
export type ActKind = Act['kind'];

/** ε of hard and off. */
export const STEP = 0.01;

/** Population standard deviation. */
export function deviation(z_E: ArrayLike<number>): number {
  let [sum, squares] = [0, 0];
  for (let e = 0; e < z_E.length; e++) sum += z_E[e];
  for (let e = 0; e < z_E.length; e++) squares += (z_E[e] - sum / z_E.length) ** 2;
  return Math.sqrt(squares / z_E.length);
}

/** The logits of one token after the acts, into `out_E`; −Infinity where an expert is taken away. */
export function actOn(z_E: ArrayLike<number>, acts: readonly Act[], out_E: Float32Array): void {
  for (let e = 0; e < z_E.length; e++) out_E[e] = z_E[e];
  for (const act of acts) {
    if (act.kind === 'share') {
      for (let e = 0; e < z_E.length; e++) out_E[e] = z_E[e] + act.strength * act.share_E[e] * Math.abs(z_E[e]);
    } else if (act.kind !== 'zero') {
      const move = moveOf(act, z_E);
      for (const [rank, e] of sorted(act.experts).entries()) out_E[e] = move(z_E[e], rank);
    }
  }
}

type Listed = Exclude<Act, { kind: 'share' | 'zero' }>;

/** What becomes of a logit. Sums over the experts are made once per token. */
function moveOf(act: Listed, z_E: ArrayLike<number>): (z: number, rank: number) => number {
  if (act.kind === 'soft') {
    const step = act.strength * deviation(z_E);
    return z => z + step;
  }
  if (act.kind === 'mask') return () => Number.NEGATIVE_INFINITY;
  const list = Array.from(z_E);
  if (act.kind === 'off') {
    const low = Math.min(...list);
    return (_, rank) => low - STEP * (1 + rank);
  }
  const high = Math.max(...list);
  return (_, rank) => high + STEP * (act.experts.length - rank);
}

const sorted = (experts: readonly number[]): number[] => [...experts].sort((a, b) => a - b);

/** @throws UserError for experts that a layer does not have, names twice, or that leave a token without its k */
export function checkActs(acts: readonly Act[], layer: number, numExperts: number, k: number): void {
  const refuse = (what: string): never => {
    throw new UserError(`Layer ${layer} has ${numExperts} experts of which ${k} serve each token: ${what}.`);
  };
  for (const act of acts) {
    if (act.kind === 'share') {
      if (act.share_E.length !== numExperts) refuse(`give a share for each, not ${act.share_E.length}`);
      continue;
    }
    const outside = act.experts.find(e => !Number.isInteger(e) || e < 0 || e >= numExperts);
    if (outside !== undefined) refuse(`there is no expert ${outside}; choose from 0 to ${numExperts - 1}`);
    if (new Set(act.experts).size < act.experts.length) refuse(`${act.experts.join(', ')} names an expert twice`);
    const count = act.experts.length;
    if (act.kind === 'hard' && count > k) refuse(`at most ${k} can be made to serve, not ${count}`);
    if (act.kind === 'off' && count > numExperts - k) refuse(`at most ${numExperts - k} can be put last, not ${count}`);
  }
  const masked = new Set(acts.flatMap(act => (act.kind === 'mask' ? act.experts : []))).size;
  if (masked > numExperts - k) refuse(`at most ${numExperts - k} can be masked, not ${masked}`);
}
