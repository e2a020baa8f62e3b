// What is known of each expert before anything is done to it: who uses it, how often first, with which gate and how loudly.
// One plain pass over held-out text. Padding and the end of text do not count. Shapes: L layers, Λ languages, E experts.
import type { RoutingMode } from '../../routing/types.ts';
import type { Language, TokenDocument } from '../data/types.ts';
import { documentLosses, type Evaluated, type EvaluateOptions } from '../eval/evaluate.ts';

/** Sums over the counted tokens of one language in one layer, by expert id. */
export interface ExpertSums {
  tokens: number;
  /** Tokens with the expert among their k, and with the expert first. */
  chosen_E: Float64Array;
  first_E: Float64Array;
  /** Sum of its gates where chosen, and where first. */
  gate_E: Float64Array;
  firstGate_E: Float64Array;
}

export interface ExpertUsage {
  numExperts: number;
  k: number;
  /** MoE layers, ascending. */
  layers: number[];
  /** By layer, then language id; null for a language without counted tokens. */
  sums: ReadonlyMap<number, (ExpertSums | null)[]>;
}

export type PassShape = Pick<EvaluateOptions, 'batch' | 'sequence' | 'padId' | 'onBatch'> & { mode: RoutingMode };

/** Counts over documents with the routers as they are. */
export async function measureUsage(
  model: Evaluated,
  documents: TokenDocument[],
  languages: Language[],
  shape: PassShape,
): Promise<ExpertUsage> {
  const { numExperts, num_experts_per_tok, layers } = model.spec;
  const moeLayers = layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  const sums = new Map(moeLayers.map(layer => [layer, languages.map(() => emptySums(numExperts))]));
  await documentLosses(model, documents, languages, {
    ...shape,
    onRouting: ({ layer, expertId_TK, gate_TK, k }, batch, from = 0) => {
      for (let t = 0; t < expertId_TK.length / k; t++) {
        const language = batch.language_BS[from + t];
        if (language < 0 || batch.inputId_BS[from + t] === shape.padId) continue;
        add(sums.get(layer)![language], expertId_TK.subarray(t * k, (t + 1) * k), gate_TK.subarray(t * k, (t + 1) * k));
      }
    },
  });
  const counted = [...sums].map(([layer, rows]) => [layer, rows.map(row => (row.tokens > 0 ? row : null))] as const);
  return { numExperts, k: num_experts_per_tok, layers: moeLayers, sums: new Map(counted) };
}

const emptySums = (E: number): ExpertSums => ({
  tokens: 0,
  chosen_E: new Float64Array(E),
  first_E: new Float64Array(E),
  gate_E: new Float64Array(E),
  firstGate_E: new Float64Array(E),
});

function add(row: ExpertSums, expert_K: Int32Array, gate_K: Float32Array): void {
  row.tokens++;
  expert_K.forEach((e, slot) => {
    if (e < 0) return;
    row.chosen_E[e]++;
    row.gate_E[e] += gate_K[slot];
    if (slot > 0) return;
    row.first_E[e]++;
    row.firstGate_E[e] += gate_K[slot];
  });
}

/** [E] a(e): share of tokens with e among their k, as the mean over those of the languages that have text. Sums to k; NaN
 *  where none has text. */
export function tokenShare(usage: ExpertUsage, layer: number, languages: readonly number[]): Float64Array {
  const rows = usage.sums.get(layer)!;
  const spoken = languages.flatMap(language => rows[language] ?? []);
  return Float64Array.from({ length: usage.numExperts }, (_, e) =>
    spoken.reduce(
      (sum, { chosen_E, tokens }) => sum + chosen_E[e] / tokens / spoken.length,
      spoken.length > 0 ? 0 : NaN,
    ),
  );
}
