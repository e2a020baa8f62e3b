// Bootstrap over units: each stratum gives as many units as it has, drawn with replacement. The interval is the basic one,
// 2θ̂ − q(θ*): a resampled entropy has the bias of the plug-in twice over, and reflecting takes both off again, so that this is
// the interval of the bias-corrected value. Percentile intervals would lie beside it (Davison & Hinkley 1997, §5.2).
import type { Choice } from './rows.ts';
import type { Units } from './units.ts';

/** One bootstrap draw: documents with their multiplicity, grouped by language; documents not drawn are absent. */
export function bootstrapChoice(units: Units, language: Int32Array, languages: number, random: () => number): Choice {
  const times = new Uint16Array(language.length);
  for (const stratum of units.strata) {
    for (let i = 0; i < stratum.length; i++) {
      const unit = stratum[Math.floor(random() * stratum.length)];
      for (let j = 0; j < unit.length; j++) times[unit[j]]++;
    }
  }
  const start = new Int32Array(languages + 1);
  for (let d = 0; d < times.length; d++) if (times[d] > 0) start[language[d] + 1]++;
  for (let l = 0; l < languages; l++) start[l + 1] += start[l];
  const next = start.slice();
  const document = new Int32Array(start[languages]);
  const weight = new Float64Array(document.length);
  for (let d = 0; d < times.length; d++) {
    if (times[d] === 0) continue;
    const at = next[language[d]]++;
    document[at] = d;
    weight[at] = times[d];
  }
  return { start, document, weight };
}

/** Quantile of ascending values, linear between neighbours (type 7). NaN without values. */
export function quantile(ascending: ArrayLike<number>, p: number): number {
  const n = ascending.length;
  if (n === 0) return Number.NaN;
  const at = p * (n - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, n - 1);
  return ascending[below] + (at - below) * (ascending[above] - ascending[below]);
}

/** Basic interval of coverage `level` around a plug-in value; draws that are NaN are passed over. */
export function basicInterval(plugIn: number, draws: Float64Array, level = 0.95): { low: number; high: number } {
  const ascending = draws.filter(Number.isFinite).sort();
  const tail = (1 - level) / 2;
  return { low: 2 * plugIn - quantile(ascending, 1 - tail), high: 2 * plugIn - quantile(ascending, tail) };
}
