// Language rows q_λ(e) of every MoE layer from counts per document: the first step of every measure, and of every draw of a
// resampling, which is a choice of documents with weights. With c_d the counts of document d in a layer and m_d their sum,
//   averaging documents   q_λ ∝ Σ_d w_d c_d / m_d   each document counts once
//   averaging tokens      q_λ ∝ Σ_d w_d c_d         (softmax view: Σ_d w_d tokens_d p_d)
// Shapes: D documents, n languages, L MoE layers, E experts; rows are dense [L · n · E], each summing to 1.
import { UserError } from '../src/errors.ts';
import type { DocumentCounts, LanguageRows, View } from './document-counts.ts';

export type Averaging = 'documents' | 'tokens';
/** What of a header the shapes need; without it languages after the last counted one are missing. */
export interface Shape {
  languages: readonly unknown[];
  numExperts: number;
}

/** One view of the counts, ready for many draws. */
export interface Source {
  layers: number;
  languages: number;
  experts: number;
  /** Per layer [D · E]. */
  mass: Float32Array[];
  /** Per layer [D]: what a document of weight 1 is multiplied by; 0 where it has no mass. */
  scale: Float64Array[];
}

/** Documents with weights, language after language: those of λ stand at start[λ] … start[λ + 1] − 1. */
export interface Choice {
  start: Int32Array;
  document: Int32Array;
  weight: Float64Array;
}

/** Rows of all counted documents. Throws UserError where the trace has no softmax and that view is asked for. */
export function languageRows(counts: DocumentCounts, view: View, averaging: Averaging, shape?: Shape): LanguageRows {
  const source = sourceOf(counts, view, averaging, shape);
  const rows = emptyRows(source);
  fillRows(source, [everyDocument(counts.language, source.languages)], [rows]);
  return rows;
}

/** The counts of one view with the factor of each document. */
export function sourceOf(counts: DocumentCounts, view: View, averaging: Averaging, shape?: Shape): Source {
  const mass = view === 'selection' ? counts.count : view === 'gate' ? counts.gate : counts.softmax;
  if (!mass) {
    throw new UserError(
      'The trace holds no mean softmax per document: write it with --softmax or choose another view.',
    );
  }
  const documents = counts.document.length;
  const experts = shape?.numExperts ?? (documents > 0 ? mass[0].length / documents : 0);
  const languages = shape?.languages.length ?? counts.language.reduce((most, l) => Math.max(most, l + 1), 0);
  const scale = mass.map(cells => {
    const factor = new Float64Array(documents);
    for (let d = 0; d < documents; d++) {
      let sum = 0;
      for (let i = d * experts; i < (d + 1) * experts; i++) sum += cells[i];
      if (sum > 0) factor[d] = averaging === 'documents' ? 1 / sum : view === 'softmax' ? counts.tokens[d] / sum : 1;
    }
    return factor;
  });
  return { layers: mass.length, languages, experts, mass, scale };
}

/** Every document once, grouped by its language. `kept[d]` = 0 leaves a document out. */
export function everyDocument(language: Int32Array, languages: number, kept?: Uint8Array): Choice {
  const start = new Int32Array(languages + 1);
  for (let d = 0; d < language.length; d++) if (kept?.[d] !== 0) start[language[d] + 1]++;
  for (let l = 0; l < languages; l++) start[l + 1] += start[l];
  const next = start.slice();
  const document = new Int32Array(start[languages]);
  for (let d = 0; d < language.length; d++) if (kept?.[d] !== 0) document[next[language[d]]++] = d;
  return { start, document, weight: new Float64Array(document.length).fill(1) };
}

export function emptyRows({ layers, languages, experts }: Omit<Source, 'mass' | 'scale'>): LanguageRows {
  const q = new Float64Array(layers * languages * experts);
  return { layers, languages, experts, q, present: new Uint8Array(languages) };
}

/** Fills `into[i]` with the rows of `choices[i]`. Choices are taken together because the counts of a language then stay in cache. */
export function fillRows(source: Source, choices: Choice[], into: LanguageRows[]): void {
  const { layers, languages, experts } = source;
  const most = choices.reduce((n, choice) => Math.max(n, choice.document.length), 0);
  const weight = new Float64Array(most);
  const from = new Int32Array(most);
  for (const [i, { start }] of choices.entries()) {
    for (let l = 0; l < languages; l++) into[i].present[l] = start[l + 1] > start[l] ? 1 : 0;
  }
  for (let layer = 0; layer < layers; layer++) {
    const [mass, scale] = [source.mass[layer], source.scale[layer]];
    for (let l = 0; l < languages; l++) {
      for (let i = 0; i < choices.length; i++) {
        const { start, document, weight: given } = choices[i];
        const n = start[l + 1] - start[l];
        for (let j = 0; j < n; j++) {
          const d = document[start[l] + j];
          from[j] = d * experts;
          weight[j] = given[start[l] + j] * scale[d];
        }
        const at = (layer * languages + l) * experts;
        weightedSum(mass, from, weight, n, into[i].q, at, experts);
        // a language that a layer dropped altogether has no row there, hence no profile over depth
        if (!normalise(into[i].q, at, experts)) into[i].present[l] = 0;
      }
    }
  }
}

/** out[at + e] = Σ_j weight[j] · mass[from[j] + e], eight documents at a time: the inner loop of all resampling. */
function weightedSum(
  c: Float32Array,
  from: Int32Array,
  w: Float64Array,
  n: number,
  out: Float64Array,
  at: number,
  E: number,
): void {
  for (let e = 0; e < E; e++) out[at + e] = 0;
  let j = 0;
  for (; j + 7 < n; j += 8) {
    const [a0, a1, a2, a3] = [from[j], from[j + 1], from[j + 2], from[j + 3]];
    const [a4, a5, a6, a7] = [from[j + 4], from[j + 5], from[j + 6], from[j + 7]];
    const [w0, w1, w2, w3] = [w[j], w[j + 1], w[j + 2], w[j + 3]];
    const [w4, w5, w6, w7] = [w[j + 4], w[j + 5], w[j + 6], w[j + 7]];
    for (let e = 0; e < E; e++) {
      const first = w0 * c[a0 + e] + w1 * c[a1 + e] + (w2 * c[a2 + e] + w3 * c[a3 + e]);
      out[at + e] += first + (w4 * c[a4 + e] + w5 * c[a5 + e] + (w6 * c[a6 + e] + w7 * c[a7 + e]));
    }
  }
  for (; j < n; j++) {
    const [a, v] = [from[j], w[j]];
    for (let e = 0; e < E; e++) out[at + e] += v * c[a + e];
  }
}

/** Divides by the sum; false where there is none. */
function normalise(q: Float64Array, at: number, E: number): boolean {
  let sum = 0;
  for (let e = at; e < at + E; e++) sum += q[e];
  if (!(sum > 0)) return false;
  for (let e = at; e < at + E; e++) q[e] /= sum;
  return true;
}
