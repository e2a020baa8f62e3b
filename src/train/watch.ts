// Judges each step's loss and gradient norm: not finite stops at once; an explosion, that is a loss above
// factor × (median of the recent losses) for `patience` steps in a row, stops too. Answers in words for the user.

export interface WatchSettings {
  /** How many recent losses the median is taken over. */
  window: number;
  factor: number;
  /** Steps in a row above the limit before the run is stopped. */
  patience: number;
  /** Up to this step only values that are not finite, or above the ceiling, count: losses of the warm-up say little. */
  quietUntil: number;
  /** No healthy loss is above it at any step. */
  ceiling: number;
}

export const watchDefaults: WatchSettings = {
  window: 50,
  factor: 3,
  patience: 5,
  quietUntil: 20,
  ceiling: Number.POSITIVE_INFINITY,
};

/** What the watch remembers between steps, for trainer_state.json. */
export interface WatchState {
  recent: number[];
  above: number;
}

export interface Observation {
  step: number;
  loss: number;
  gradientNorm: number;
  learningRate: number;
  /** Parameters whose gradient is not finite, from clippingOf. */
  nonFinite?: string[];
}

export interface Watch {
  /** Null: go on. Otherwise the sentence to stop the run with. Call it before the optimizer changes the weights. */
  observe(observation: Observation): string | null;
  state(): WatchState;
}

const mend = 'lower the learning rate or train.clip, or lengthen train.warmup, in a new run';

const rate = (value: number): number => Number(value.toPrecision(4));

/** Median of a non-empty list; the mean of the two middle values when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function nonFiniteSentence({ step, loss, gradientNorm, learningRate, nonFinite = [] }: Observation): string | null {
  const where = `at step ${step} (learning rate ${rate(learningRate)})`;
  if (!Number.isFinite(loss)) return `The loss is ${loss} ${where}: ${mend}`;
  if (Number.isFinite(gradientNorm) && nonFinite.length === 0) return null;
  const first = nonFinite.length > 0 ? `, first in ${nonFinite[0]}` : '';
  return `The gradient is not finite ${where}${first}: ${mend}`;
}

/** A watch with these settings; `from` continues a saved one. */
export function createWatch(settings: WatchSettings = watchDefaults, from?: WatchState): Watch {
  const recent = [...(from?.recent ?? [])];
  let above = from?.above ?? 0;
  return {
    observe(observation) {
      const sentence = nonFiniteSentence(observation);
      if (sentence) return sentence;
      const { step, loss, learningRate } = observation;
      const usual = recent.length > 0 ? median(recent) : loss;
      const exploded = step > settings.quietUntil && loss > usual * settings.factor;
      // A loss above the limit stays out of the median, so that an explosion cannot become the new normal.
      if (exploded || loss > settings.ceiling) {
        above++;
        if (above < settings.patience) return null;
        const limit = exploded
          ? `${settings.factor} × the recent median ${usual.toPrecision(4)}`
          : `${settings.ceiling.toPrecision(4)}, far worse than guessing,`;
        return (
          `The loss is exploding: ${loss.toPrecision(4)} at step ${step} (learning rate ${rate(learningRate)}), above ` +
          `${limit} for ${above} steps in a row: ${mend}`
        );
      }
      above = 0;
      recent.push(loss);
      if (recent.length > settings.window) recent.shift();
      return null;
    },
    state: () => ({ recent: [...recent], above }),
  };
}
