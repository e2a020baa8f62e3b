// Learning rate of each update: warm-up from zero to the peak, then cosine, linear or constant.
//   cosine: r(p) = f + (1 − f) · (1 + cos πp) / 2      linear: r(p) = 1 − (1 − f) · p      p = (t − w) / (H − w)
// t update (from 1), w warm-up steps, H = horizon · steps, f final ratio. With H = 1.35 steps, 3 % warm-up and f = 0,
// as in the ApolloMoE scripts, the run stops at 16.6 % of the peak.

export interface Schedule {
  kind: 'cosine' | 'linear' | 'constant';
  peak: number;
  /** Updates in the run (or in the phase). */
  steps: number;
  /** A share of horizon · steps, or a number of updates. */
  warmup: { fraction: number } | { steps: number };
  /** The decay is laid out over horizon · steps; at least 1. */
  horizon: number;
  /** Learning rate at the end of the horizon, as a share of the peak. */
  finalRatio: number;
}

/** Updates spent in warm-up; a fraction is rounded down. */
export function warmupSteps({ warmup, steps, horizon }: Schedule): number {
  return 'steps' in warmup ? warmup.steps : Math.floor(warmup.fraction * horizon * steps);
}

/**
 * Learning rate of update `step`, counted from 1 (the number that AdamW and checkpoints use). Update w of w warm-up
 * steps has the full peak; past the horizon the final value stays.
 */
export function learningRate(step: number, schedule: Schedule): number {
  const { kind, peak, steps, horizon, finalRatio } = schedule;
  const warm = warmupSteps(schedule);
  if (step < warm) return (peak * step) / warm;
  if (kind === 'constant') return peak;
  const progress = Math.min(1, (step - warm) / Math.max(1, horizon * steps - warm));
  const fall = kind === 'cosine' ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - progress;
  return peak * (finalRatio + (1 - finalRatio) * fall);
}
