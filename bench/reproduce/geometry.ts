// What the router of each layer could see: the normed input of FFN or experts, on held-out text, every language the same weight.
//   shared mean   ‖mean x‖² / mean ‖x‖²          1: all tokens look alike to a router; random router rows then agree on experts
//   language      mean over languages of ‖mean x of the language − mean x‖² / mean ‖x − mean x‖²
//   probe         share of tokens whose language a ridge regression reads off, trained on other documents (chance 1/G)
// Shapes: T tokens, D width, G languages.
import { batchesOf } from '../../src/data/pack.ts';
import type { TokenDocument } from '../../src/data/types.ts';
import { type Tensor2D, tf } from '../../src/engine/tf.ts';
import { tokenInput } from '../../src/model/token-input.ts';
import { forward } from '../../src/model/transformer.ts';
import type { Model } from '../../src/model/weights.ts';

export interface Geometry {
  /** By layer of the model. */
  sharedMean: number[];
  language: number[];
  probe: number[];
}

interface Rows {
  x_TD: Float32Array;
  language_T: Int32Array;
  /** Which half of the documents. */
  half_T: Int32Array;
}

/** Tokens of each language that are looked at. */
const PER_LANGUAGE = 1600;

/** Measures every layer on at most 1,600 tokens per language, documents taken in turn for training and testing the probe. */
export async function geometryOf(
  model: Model,
  documents: TokenDocument[],
  languages: number,
  shape: { batch: number; sequence: number; padId: number },
): Promise<Geometry> {
  const half = halves(documents);
  const layers = model.spec.layers.map((): Float32Array[] => []);
  const language: number[] = [];
  const halfOf: number[] = [];
  const seen = Array.from({ length: languages * 2 }, () => 0);
  for (const batch of batchesOf(documents, { ...shape, packing: 'isolated' })) {
    const kept: number[] = [];
    batch.document_BS.forEach((document, t) => {
      if (document < 0 || batch.inputId_BS[t] === shape.padId) return;
      const cell = batch.language_BS[t] * 2 + half[document];
      if (seen[cell] >= PER_LANGUAGE / 2) return;
      seen[cell]++;
      kept.push(t);
      language.push(batch.language_BS[t]);
      halfOf.push(half[document]);
    });
    if (kept.length === 0) continue;
    const inputs = tf.tidy(() => {
      const found: Tensor2D[] = [];
      forward(model, tokenInput(batch, null), {
        mode: 'free',
        onFfnInput: (layer, x_TD) => {
          found[layer] = x_TD.clone();
        },
      });
      return found;
    });
    for (const [layer, input] of inputs.entries()) {
      const x = await input.data();
      const D = input.shape[1];
      for (const t of kept) layers[layer].push(Float32Array.from(x.subarray(t * D, (t + 1) * D)));
      input.dispose();
    }
  }
  const found = layers.map(rows => {
    const x_TD = new Float32Array(rows.length * (rows[0]?.length ?? 0));
    rows.forEach((row, t) => {
      x_TD.set(row, t * row.length);
    });
    return geometryOfRows({ x_TD, language_T: Int32Array.from(language), half_T: Int32Array.from(halfOf) }, languages);
  });
  return {
    sharedMean: found.map(({ sharedMean }) => sharedMean),
    language: found.map(layer => layer.language),
    probe: found.map(({ probe }) => probe),
  };
}

/** Documents of each language go to the two halves in turn. */
function halves(documents: TokenDocument[]): number[] {
  const count = new Map<number, number>();
  return documents.map(({ language }) => {
    const n = count.get(language) ?? 0;
    count.set(language, n + 1);
    return n % 2;
  });
}

/** The three numbers of one layer. */
export function geometryOfRows(rows: Rows, languages: number): { sharedMean: number; language: number; probe: number } {
  const { x_TD, language_T } = rows;
  const T = language_T.length;
  const D = x_TD.length / T;
  const mean_GD = new Float64Array(languages * D);
  const count_G = new Float64Array(languages);
  const energy_G = new Float64Array(languages);
  language_T.forEach((g, t) => {
    count_G[g]++;
    for (let d = 0; d < D; d++) {
      const x = x_TD[t * D + d];
      mean_GD[g * D + d] += x;
      energy_G[g] += x * x;
    }
  });
  const present = [...count_G.keys()].filter(g => count_G[g] > 0);
  const mean_D = new Float64Array(D);
  let energy = 0;
  for (const g of present) {
    energy += energy_G[g] / count_G[g] / present.length;
    for (let d = 0; d < D; d++) {
      mean_GD[g * D + d] /= count_G[g];
      mean_D[d] += mean_GD[g * D + d] / present.length;
    }
  }
  const shared = mean_D.reduce((sum, value) => sum + value * value, 0);
  let between = 0;
  for (const g of present)
    for (let d = 0; d < D; d++) between += (mean_GD[g * D + d] - mean_D[d]) ** 2 / present.length;
  return { sharedMean: shared / energy, language: between / (energy - shared), probe: probeAccuracy(rows, languages) };
}

/** Ridge regression onto one-hot languages, trained on one half of the documents, read on the other: mean accuracy by language. */
export function probeAccuracy({ x_TD, language_T, half_T }: Rows, languages: number): number {
  const T = language_T.length;
  const D = x_TD.length / T + 1; // a column of ones
  const at = (t: number, d: number): number => (d === D - 1 ? 1 : x_TD[t * (D - 1) + d]);
  const gram = new Float64Array(D * D);
  const right_DG = new Float64Array(D * languages);
  for (let t = 0; t < T; t++) {
    if (half_T[t] !== 0) continue;
    for (let a = 0; a < D; a++) {
      const x = at(t, a);
      right_DG[a * languages + language_T[t]] += x;
      for (let b = 0; b <= a; b++) gram[a * D + b] += x * at(t, b);
    }
  }
  let trace = 0;
  for (let a = 0; a < D; a++) trace += gram[a * D + a];
  for (let a = 0; a < D; a++) {
    gram[a * D + a] += (1e-3 * trace) / D;
    for (let b = 0; b < a; b++) gram[b * D + a] = gram[a * D + b];
  }
  const weight_DG = solve(gram, right_DG, D, languages);
  const right_G = new Float64Array(languages);
  const tested_G = new Float64Array(languages);
  for (let t = 0; t < T; t++) {
    if (half_T[t] !== 1) continue;
    const score_G = new Float64Array(languages);
    for (let d = 0; d < D; d++)
      for (let g = 0; g < languages; g++) score_G[g] += at(t, d) * weight_DG[d * languages + g];
    tested_G[language_T[t]]++;
    if (score_G.indexOf(Math.max(...score_G)) === language_T[t]) right_G[language_T[t]]++;
  }
  const tested = [...tested_G.keys()].filter(g => tested_G[g] > 0);
  return tested.reduce((sum, g) => sum + right_G[g] / tested_G[g] / tested.length, 0);
}

/** Cholesky: the answer of A X = B for a symmetric positive definite A [n, n] and B [n, m]; both are overwritten. */
function solve(A: Float64Array, B: Float64Array, n: number, m: number): Float64Array {
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = A[i * n + j];
      for (let p = 0; p < j; p++) sum -= A[i * n + p] * A[j * n + p];
      A[i * n + j] = i === j ? Math.sqrt(sum) : sum / A[j * n + j];
    }
  for (let c = 0; c < m; c++) {
    for (let i = 0; i < n; i++) {
      for (let p = 0; p < i; p++) B[i * m + c] -= A[i * n + p] * B[p * m + c];
      B[i * m + c] /= A[i * n + i];
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let p = i + 1; p < n; p++) B[i * m + c] -= A[p * n + i] * B[p * m + c];
      B[i * m + c] /= A[i * n + i];
    }
  }
  return B;
}
