// An intervention as acts by layer, with the controls of its kind: random experts of like load, the same experts in other layers.
import type { Act } from '../../routing/intervene/acts.ts';
import { exclusiveShares, type LayerExperts, type Target } from './choose.ts';
import { randomMatched, wrongLayers } from './controls.ts';
import { type ExpertUsage, tokenShare } from './usage.ts';

export type Acts = ReadonlyMap<number, readonly Act[]>;
export type How = 'soft' | 'hard' | 'off' | 'mask' | 'zero';

export interface Planned {
  target: Target;
  /** What is acted on, for people. */
  experts: LayerExperts;
  acts: Acts;
  /** A control of the same size; `random` in [0, 1). */
  randomActs: (random: () => number) => Acts;
  /** The same in other layers; null where there are none. */
  movedActs: Acts | null;
  /** Mean over layers of the share of tokens that choose one of the experts, and the same of a random control. */
  load: (acts: Acts) => number;
}

/** @param strength of `soft` */
export function planExperts(
  usage: ExpertUsage,
  target: Target,
  experts: LayerExperts,
  how: How,
  strength: number,
): Planned {
  const actsOf = (sets: LayerExperts): Acts =>
    new Map(
      [...sets].map(([layer, ids]) => [
        layer,
        [how === 'soft' ? { kind: how, experts: ids, strength } : { kind: how, experts: ids }],
      ]),
    );
  const moved = wrongLayers(experts, usage.layers);
  return {
    target,
    experts,
    acts: actsOf(experts),
    randomActs: random => actsOf(randomMatched(usage, experts, random)),
    movedActs: moved && actsOf(moved),
    load: acts => loadOf(usage, acts),
  };
}

/** Chen et al. 2601.14050: pulls shared experts by the target's share of them; an expert is shared where some language uses it
 *  and every language's share is below the threshold. The random control deals the same pulls to other experts. */
export function planShares(
  usage: ExpertUsage,
  target: Target,
  layers: readonly number[],
  { keep, threshold, strength }: { keep: number; threshold: number; strength: number },
): Planned {
  const shares = new Map(layers.map(layer => [layer, sharedPulls(usage, layer, target, keep, threshold)]));
  const actsOf = (pulls: ReadonlyMap<number, Float64Array>): Acts =>
    new Map([...pulls].map(([layer, share_E]) => [layer, [{ kind: 'share', share_E: [...share_E], strength }]]));
  const pulled = (share_E: Float64Array): number[] => [...share_E.keys()].filter(e => share_E[e] > 0);
  const free = usage.layers.filter(layer => !layers.includes(layer));
  const moved = new Map(free.slice(0, layers.length).map((layer, i) => [layer, shares.get(layers[i])!]));
  return {
    target,
    experts: new Map([...shares].map(([layer, share_E]) => [layer, pulled(share_E)])),
    acts: actsOf(shares),
    randomActs: random => actsOf(new Map([...shares].map(([layer, share_E]) => [layer, shuffled(share_E, random)]))),
    movedActs: moved.size > 0 ? actsOf(moved) : null,
    load: acts => loadOf(usage, acts),
  };
}

function sharedPulls(usage: ExpertUsage, layer: number, target: Target, keep: number, threshold: number): Float64Array {
  const shares = exclusiveShares(usage, layer, keep);
  return Float64Array.from({ length: usage.numExperts }, (_, e) => {
    const all = shares.flatMap(row => row?.[e] ?? []);
    const shared = all.some(share => share > 0) && all.every(share => share < threshold);
    return shared ? target.languages.reduce((sum, language) => sum + (shares[language]?.[e] ?? 0), 0) : 0;
  });
}

function shuffled(values: Float64Array, random: () => number): Float64Array {
  const out = values.slice();
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

function loadOf(usage: ExpertUsage, acts: Acts): number {
  const loads = [...acts].map(([layer, [act]]) => {
    const load_E = tokenShare(
      usage,
      layer,
      usage.sums.get(layer)!.map((_, language) => language),
    );
    const acted = act.kind === 'share' ? [...load_E.keys()].filter(e => act.share_E[e] > 0) : act.experts;
    return acted.reduce((sum, e) => sum + load_E[e], 0);
  });
  return loads.reduce((sum, load) => sum + load, 0) / loads.length;
}
