// What an intervention is compared with: as many random experts of about the same load, and the same experts in other layers.
// Load of a set: Σ a(e), the share of tokens that choose e, each language counting once.
import type { LayerExperts } from './choose.ts';
import { type ExpertUsage, tokenShare } from './usage.ts';

/** Sets that are looked at in a layer with more of them than this. */
const MOST_SETS = 400;
/** Of the sets by nearness in load, the share that is drawn from, and how many at least. */
const NEAREST = 1 / 3;
const LEAST_SETS = 4;

/** One random control: in each layer as many experts as the intervention has, drawn from the sets nearest to it in load, never
 *  the same set where there is another. `random` in [0, 1). */
export function randomMatched(usage: ExpertUsage, experts: LayerExperts, random: () => number): LayerExperts {
  return new Map([...experts].map(([layer, own]) => [layer, nearSet(usage, layer, own, random)]));
}

function nearSet(usage: ExpertUsage, layer: number, own: readonly number[], random: () => number): number[] {
  const load_E = tokenShare(
    usage,
    layer,
    usage.sums.get(layer)!.map((_, language) => language),
  );
  const load = (set: readonly number[]): number => set.reduce((sum, e) => sum + load_E[e], 0);
  const sets = candidates(usage.numExperts, own.length, random).filter(set => set.join() !== own.join());
  if (sets.length === 0) return [...own];
  const away = new Map(sets.map(set => [set, Math.abs(load(set) - load(own))]));
  sets.sort((a, b) => away.get(a)! - away.get(b)!);
  const near = Math.min(sets.length, Math.max(LEAST_SETS, Math.ceil(sets.length * NEAREST)));
  return sets[Math.floor(random() * near)];
}

/** All sets of `size` of E experts, or a sample of them where there are many; ascending inside. */
function candidates(E: number, size: number, random: () => number): number[][] {
  if (binomial(E, size) <= MOST_SETS) return subsets(E, size);
  const found = new Map<string, number[]>();
  while (found.size < MOST_SETS) {
    const left = Array.from({ length: E }, (_, e) => e);
    const set = Array.from({ length: size }, () => left.splice(Math.floor(random() * left.length), 1)[0]);
    set.sort((a, b) => a - b);
    found.set(set.join(), set);
  }
  return [...found.values()];
}

function subsets(E: number, size: number, from = 0): number[][] {
  if (size === 0) return [[]];
  const out: number[][] = [];
  for (let e = from; e <= E - size; e++) for (const rest of subsets(E, size - 1, e + 1)) out.push([e, ...rest]);
  return out;
}

function binomial(n: number, m: number): number {
  let ways = 1;
  for (let i = 1; i <= m; i++) ways = (ways * (n - m + i)) / i;
  return Math.round(ways);
}

/** The same sets in layers that the intervention leaves alone, in order and again from the start where these are fewer sets; in
 *  a model without such layers, each in the next layer. Null where this changes nothing. */
export function wrongLayers(experts: LayerExperts, moeLayers: readonly number[]): LayerExperts | null {
  const acted = [...experts.keys()];
  const free = moeLayers.filter(layer => !experts.has(layer));
  const to = free.length > 0 ? free.slice(0, acted.length) : acted;
  const shift = free.length > 0 ? 0 : acted.length - 1;
  const moved = new Map(to.map((layer, i) => [layer, experts.get(acted[(i + shift) % acted.length])!]));
  const same = to.every(layer => moved.get(layer)!.join() === experts.get(layer)?.join());
  return same && moved.size === experts.size ? null : moved;
}
