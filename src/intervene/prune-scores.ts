// How much an expert matters, for pruning (Koishekenov et al. 2212.09811). Of the tokens of each language, languages alike:
//   top1(e) = share with e first,  conf(e) = mean gate where first
//   balanced = top1 · mean gate over all tokens (0 where not chosen),  vanilla = top1 · conf,  importance = top1 · exp(conf)
//   output   = mean over tokens of gate · ‖expert(x)‖ (output-scores.ts)
// Each layer's scores are divided by their sum.
import type { ExpertSums, ExpertUsage } from './usage.ts';

export const SCORES = ['importance', 'top1', 'balanced', 'vanilla', 'output'] as const;
export type Score = (typeof SCORES)[number];

/** One expert's score, not yet normalised. */
export function scoreOf(score: Exclude<Score, 'output'>, top1: number, confidence: number, meanGate: number): number {
  if (score === 'top1') return top1;
  if (score === 'balanced') return top1 * meanGate;
  return top1 * (score === 'vanilla' ? confidence : Math.exp(confidence));
}

/** [E] by layer; each layer sums to 1, or is all 0 where no language has text. @param languages ids that count */
export function pruneScores(
  usage: ExpertUsage,
  score: Exclude<Score, 'output'>,
  languages: readonly number[],
): Map<number, Float64Array> {
  return new Map(
    usage.layers.map(layer => {
      const rows = languages.flatMap(language => usage.sums.get(layer)![language] ?? []);
      const mean = (of: (row: ExpertSums) => number): number =>
        rows.reduce((sum, row) => sum + of(row) / row.tokens, 0) / Math.max(1, rows.length);
      const score_E = Float64Array.from({ length: usage.numExperts }, (_, e) => {
        const top1 = mean(({ first_E }) => first_E[e]);
        const confidence = top1 > 0 ? mean(({ firstGate_E }) => firstGate_E[e]) / top1 : 0;
        return scoreOf(
          score,
          top1,
          confidence,
          mean(({ gate_E }) => gate_E[e]),
        );
      });
      return [layer, normalised(score_E)];
    }),
  );
}

export function normalised(score_E: Float64Array): Float64Array {
  const sum = score_E.reduce((total, score) => total + score, 0);
  return sum > 0 ? score_E.map(score => score / sum) : score_E;
}
