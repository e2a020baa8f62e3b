// Are these experts a module of the target? Salomone et al. 2606.25092, fixed before the runs: yes if the effect on the target
// is above mean + 2σ of size-matched random experts, and the worst effect elsewhere is at most a third of it. The interval form
// asks the same of the unfavourable ends of the intervals. One text shows little: a module is claimed where the rule of points
// also holds in at least two sources of text.

export interface RandomNull {
  mean: number;
  /** Standard deviation over the draws. */
  sd: number;
  draws: number;
}

export interface Interval {
  value: number;
  low: number | null;
  high: number | null;
}

export interface ModuleVerdict {
  /** mean + 2σ. */
  threshold: number;
  points: boolean;
  intervals: boolean;
}

/** @param worst the largest effect off the target */
export function moduleVerdict(target: Interval, worst: Interval, random: RandomNull): ModuleVerdict {
  const threshold = random.mean + 2 * random.sd;
  const holds = (on: number | null, off: number | null): boolean =>
    on !== null && off !== null && on > threshold && off <= on / 3;
  return {
    threshold,
    points: holds(target.value, worst.value),
    intervals: holds(target.low, worst.high),
  };
}

/** Mean and sample standard deviation. @param values at least two */
export function nullOf(values: readonly number[]): RandomNull {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: Math.sqrt(squares / (values.length - 1)), draws: values.length };
}
