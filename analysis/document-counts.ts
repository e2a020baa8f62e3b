// Counts per document × layer × expert: what usage, entropies, information and divergences are computed and resampled from.
// Shapes: D documents with at least one counted token, L MoE layers (index into header.moeLayers), E experts, n languages.

export interface DocumentCounts {
  /** [D] index into the header's `documents`, ascending. */
  document: Int32Array;
  /** [D] index into the header's `languages`. */
  language: Int32Array;
  /** [D] number of the parallel item, 0 … items − 1 by first appearance; documents of the same item share it. */
  item: Int32Array;
  items: number;
  /** [D] counted tokens. */
  tokens: Float64Array;
  /** Per layer [D · E]: slots of the counted tokens (selection view) and their summed gate shares (gate view). */
  count: Float32Array[];
  gate: Float32Array[];
  /** Per layer [D · E]: mean full softmax over the counted tokens (softmax view); null when the trace has none. */
  softmax: Float32Array[] | null;
  /** Tokens left out, for the captions. */
  dropped: { special: number; first: number };
}

/** The three views of a language row, never mixed in one figure. */
export type View = 'selection' | 'gate' | 'softmax';

/**
 * Language rows of every layer, dense: `q[(l · n + λ) · E + e]`, each present row summing to 1. Languages without a counted
 * token are absent (`present[λ]` = 0, their q is 0) and are left out of every mean.
 */
export interface LanguageRows {
  layers: number;
  languages: number;
  experts: number;
  q: Float64Array;
  present: Uint8Array;
}

/** A vector of numbers that is computed from language rows alone, so that it can be jackknifed, bootstrapped and permuted. */
export interface Statistic {
  name: string;
  /** The same length for every argument of the same shape; NaN where undefined. */
  of(rows: LanguageRows): ArrayLike<number>;
  /** Least and most possible value: estimates and intervals are clipped to them at the end. */
  range?: [number, number];
  /** Permute labels too: for statistics that say how far languages differ. */
  permute?: boolean;
  /** Component c belongs to language c % n: a language with few texts has no interval of its own. */
  perLanguage?: boolean;
  /** `jackknife`: interval from the standard error alone, for statistics of very many components. */
  interval?: 'bootstrap' | 'jackknife';
}

/** What resampling says of one component of a statistic. Fields are null where the trace cannot tell, with a reason. */
export interface Estimate {
  /** Plug-in value. */
  plugIn: number;
  /** Bias-corrected by the delete-one-block jackknife, and its standard error. */
  estimate: number;
  se: number | null;
  /** Basic (reflected) 95 % bootstrap interval of the corrected value, clipped to the statistic's range. */
  low: number | null;
  high: number | null;
  /** Mean under permuted languages, observed minus that, and p = (1 + #{null ≥ observed}) / (1 + draws). */
  nullMean: number | null;
  excess: number | null;
  p: number | null;
  /** The same over all components of the statistic at once (family-wise, largest standardised null value). */
  pFamily?: number | null;
  /** Why fields are null. */
  reason?: string | null;
}
