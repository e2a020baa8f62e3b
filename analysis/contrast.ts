// A number made from a profile over depth (difference of bands, index), with the errors of the profile's own replicates.
// With b the jackknife bias per layer and f the contrast: estimate f(D̂ − b); bootstrap values f(D* − b) stand around f(D̂), and
// the basic interval is f(D̂ − b) + f(D̂) − q. `bound` is the one-sided 95 % lower bound, for tests of "greater than 0".
import { quantile } from './bootstrap.ts';
import { jackknife } from './jackknife.ts';
import type { Distribution } from './resample.ts';
import { criticalT } from './student.ts';

export interface Contrast {
  plugIn: number;
  estimate: number;
  se: number | null;
  low: number | null;
  high: number | null;
  /** One-sided 95 % lower bound. */
  bound: number | null;
}
export type OfProfile = (profile: ArrayLike<number>) => number;

/** The contrast `f` of a profile [L]; without bootstrap draws the interval is null, or Student's where `byJackknife`. */
export function contrastOf(profile: Distribution, f: OfProfile, byJackknife = false): Contrast {
  const corrected = profile.plugIn.map((value, l) => jackknife(value, profile.jackknife[l] ?? []).estimate);
  const bias = profile.plugIn.map((value, l) => value - corrected[l]);
  const plugIn = f(profile.plugIn);
  const estimate = f(corrected);
  const replicates = valuesOf(profile.jackknife, f);
  const { se } = jackknife(plugIn, replicates);
  const draws = valuesOf(profile.bootstrap, f, bias).filter(Number.isFinite).sort();
  if (draws.length > 0) {
    const reflect = (p: number) => estimate + plugIn - quantile(draws, p);
    return { plugIn, estimate, se, low: reflect(0.975), high: reflect(0.025), bound: reflect(0.95) };
  }
  if (!byJackknife || se === null) return { plugIn, estimate, se, low: null, high: null, bound: null };
  const freedom = replicates.length - 1;
  const far = criticalT(0.05, freedom) * se;
  const bound = estimate - criticalT(0.1, freedom) * se;
  return { plugIn, estimate, se, low: estimate - far, high: estimate + far, bound };
}

/** f of every replicate; `layers[l][i]` is layer l of replicate i, minus `bias[l]`. */
function valuesOf(layers: Float64Array[], f: OfProfile, bias?: ArrayLike<number>): Float64Array {
  const vector = new Float64Array(layers.length);
  return Float64Array.from({ length: layers[0]?.length ?? 0 }, (_, i) => {
    for (let l = 0; l < vector.length; l++) vector[l] = layers[l][i] - (bias?.[l] ?? 0);
    return f(vector);
  });
}

/** Profile a minus profile b, replicate by replicate: paired where both were resampled alike, else independent. */
export function difference(a: Distribution, b: Distribution): Distribution {
  const minus = (x: Float64Array, y: Float64Array) =>
    x.subarray(0, Math.min(x.length, y.length)).map((v, i) => v - y[i]);
  const all = (x: Float64Array[], y: Float64Array[]) => x.slice(0, y.length).map((values, l) => minus(values, y[l]));
  return {
    plugIn: minus(a.plugIn, b.plugIn),
    jackknife: all(a.jackknife, b.jackknife),
    bootstrap: all(a.bootstrap, b.bootstrap),
    permuted: [],
  };
}
