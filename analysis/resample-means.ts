// Means over units (parallel items), resampled: for measures that are computed inside each item and averaged, so that no language
// row of the whole corpus exists. A mean has no bias to correct; its interval is the basic bootstrap over items.
import seedrandom from 'seedrandom';
import { basicInterval } from './bootstrap.ts';
import type { Estimate } from './document-counts.ts';
import { jackknife } from './jackknife.ts';
import { FEWEST_UNITS } from './resample.ts';

/**
 * `values` [units · components], NaN where an item has no value: an Estimate of the mean of every component over the units that
 * have one. Under 30 such units: standard error alone.
 */
export function resampleMeans(
  values: Float64Array,
  components: number,
  { draws = 2000, seed }: { draws?: number; seed: string },
): Estimate[] {
  const units = components > 0 ? values.length / components : 0;
  const random = seedrandom(`${seed} items`);
  const picks = Array.from({ length: draws }, () =>
    Int32Array.from({ length: units }, () => Math.floor(random() * units)),
  );
  return Array.from({ length: components }, (_, c) => {
    const column = Float64Array.from({ length: units }, (_, u) => values[u * components + c]);
    const has = column.filter(Number.isFinite);
    const sum = has.reduce((a, b) => a + b, 0);
    const plugIn = has.length > 0 ? sum / has.length : Number.NaN;
    const { se } = jackknife(
      plugIn,
      has.map(value => (sum - value) / (has.length - 1)),
    );
    const none = { nullMean: null, excess: null, p: null };
    if (has.length < FEWEST_UNITS) {
      const reason = `${has.length} items, fewer than ${FEWEST_UNITS}: standard error alone, no interval`;
      return { plugIn, estimate: plugIn, se, low: null, high: null, ...none, reason };
    }
    const means = Float64Array.from(picks, pick => meanOf(column, pick));
    return { plugIn, estimate: plugIn, se, ...basicInterval(plugIn, means), ...none, reason: null };
  });
}

function meanOf(column: Float64Array, pick: Int32Array): number {
  let [sum, n] = [0, 0];
  for (const u of pick) {
    const value = column[u];
    if (Number.isNaN(value)) continue;
    sum += value;
    n++;
  }
  return sum / n;
}
