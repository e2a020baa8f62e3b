// Which experts to act on, from the usage of a text that the effect is not measured on.
//   difference  the n experts of each layer with the largest a_target(e) − mean of a over the other languages (activation
//               difference, Bandarkar et al. 2510.04694); range −1…1
//   exclusive   Chen et al. 2601.14050: of each language the K most used; s_λ(e) = a_λ(e) / Σ a(e); those with Σ_target s > τ
//   own         the expert that the families file gives the target's languages
// Ties go to the lower id, everywhere.
import type { Language } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { type ExpertUsage, tokenShare } from './usage.ts';

/** Experts by layer; a layer without any is absent. */
export type LayerExperts = ReadonlyMap<number, readonly number[]>;

/** Languages whose routing is looked at together. */
export interface Target {
  name: string;
  /** Language ids. */
  languages: readonly number[];
}

/** [E] a_target − mean over the other languages that have text. */
export function activationDifference(usage: ExpertUsage, layer: number, target: Target): Float64Array {
  const all = usage.sums.get(layer)!.map((_, language) => language);
  const others = tokenShare(
    usage,
    layer,
    all.filter(language => !target.languages.includes(language)),
  );
  return tokenShare(usage, layer, target.languages).map((share, e) => share - others[e]);
}

/** @throws UserError when the target, or all but the target, has no text */
export function byDifference(
  usage: ExpertUsage,
  target: Target,
  layers: readonly number[],
  count: number,
): LayerExperts {
  return new Map(
    layers.map(layer => {
      const difference_E = activationDifference(usage, layer, target);
      if (difference_E.some(Number.isNaN))
        throw new UserError(
          `${target.name} cannot be compared: it, or every other language, has no text to choose experts by.`,
        );
      return [
        layer,
        ranked(difference_E)
          .slice(0, count)
          .sort((a, b) => a - b),
      ];
    }),
  );
}

/** [E] ids by falling score, ties by the lower id. */
export const ranked = (score_E: ArrayLike<number>): number[] =>
  Array.from({ length: score_E.length }, (_, e) => e).sort((a, b) => score_E[b] - score_E[a] || a - b);

/** [Λ][E] s_λ(e) after each language keeps its K most used experts; rows of languages without text are null.
 *  0 where no language keeps the expert. */
export function exclusiveShares(usage: ExpertUsage, layer: number, K: number): (Float64Array | null)[] {
  const kept = usage.sums.get(layer)!.map((row, language) => {
    if (!row) return null;
    const share_E = tokenShare(usage, layer, [language]);
    const most = new Set(ranked(share_E).slice(0, K));
    return share_E.map((share, e) => (most.has(e) ? share : 0));
  });
  const total_E = new Float64Array(usage.numExperts);
  for (const row of kept) for (let e = 0; e < total_E.length; e++) total_E[e] += row?.[e] ?? 0;
  return kept.map(row => row?.map((share, e) => (total_E[e] > 0 ? share / total_E[e] : 0)) ?? null);
}

/** @returns layers in which some expert is exclusive; perhaps none */
export function exclusive(
  usage: ExpertUsage,
  target: Target,
  layers: readonly number[],
  { keep, threshold }: { keep: number; threshold: number },
): LayerExperts {
  const found = layers.map(layer => {
    const shares = exclusiveShares(usage, layer, keep);
    const sum = (e: number): number =>
      target.languages.reduce((total, language) => total + (shares[language]?.[e] ?? 0), 0);
    return [layer, Array.from({ length: usage.numExperts }, (_, e) => e).filter(e => sum(e) > threshold)] as const;
  });
  return new Map(found.filter(([, experts]) => experts.length > 0));
}

/** @throws UserError when the target's languages have no expert of their own */
export function ownExperts(target: Target, languages: readonly Language[], layers: readonly number[]): LayerExperts {
  const own = [...new Set(target.languages.map(language => languages[language].expert))].sort((a, b) => a - b);
  if (own.includes(-1))
    throw new UserError(
      `The checkpoint does not say which expert serves ${target.name}: choose experts by difference.`,
    );
  return new Map(layers.map(layer => [layer, own]));
}
