// How much each expert adds to the hidden states: mean over tokens of gate · ‖expert(x)‖₂, languages alike. The layer sorts its
// rows by expert and keeps their order, so the i-th row of an expert is the i-th slot that chose it.
// Shapes: T tokens, k experts per token, M rows in the order of their experts, D width, E experts.
import { groupedFfn } from '../../experts/ffn.ts';
import { batchesOf } from '../data/pack.ts';
import type { Batch, Language, TokenDocument } from '../data/types.ts';
import { hostIntegers } from '../engine/integers.ts';
import { tf } from '../engine/tf.ts';
import { expertWeights } from '../model/moe-block.ts';
import { expertsIn } from '../model/spec.ts';
import { tokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import type { Model } from '../model/weights.ts';
import { normalised } from './prune-scores.ts';
import type { PassShape } from './usage.ts';

/** [E] by MoE layer, each layer summing to 1. @param counted language ids that count. Not for webgpu, which cannot wait. */
export async function outputScores(
  model: Model,
  documents: TokenDocument[],
  languages: Language[],
  counted: readonly number[],
  shape: PassShape,
): Promise<Map<number, Float64Array>> {
  const { spec } = model;
  const layers = spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  const sums = new Map(layers.map(layer => [layer, languages.map(() => new Float64Array(spec.numExperts))]));
  const tokens = new Float64Array(languages.length);
  const experts = shape.mode === 'free' ? null : Int32Array.from(languages, ({ expert }) => expert);
  const isCounted = (batch: Batch, t: number): boolean =>
    counted.includes(batch.language_BS[t]) && batch.inputId_BS[t] !== shape.padId;
  for (const batch of batchesOf(documents, { ...shape, packing: 'isolated' })) {
    batch.language_BS.forEach((language, t) => {
      if (isCounted(batch, t)) tokens[language]++;
    });
    tf.tidy(() => {
      let norm_M = new Float32Array();
      forward(model, tokenInput(batch, experts), {
        mode: shape.mode,
        applyExperts(layer, rows_MD, offsets_E1) {
          const weight = (name: string) => model.weights.get(`model.layers.${layer}.${name}`)!;
          const own = Array.from({ length: expertsIn(spec, layer) }, (_, e) => expertWeights(weight, e));
          const y_MD = groupedFfn(rows_MD, own, offsets_E1);
          norm_M = tf.norm(y_MD, 2, 1).dataSync<'float32'>().slice();
          return y_MD;
        },
        onRouting(layer, { expertId_TK, gate_TK, k }) {
          const gates = gate_TK.dataSync<'float32'>();
          const row_N = rowsOf(hostIntegers(expertId_TK), spec.numExperts);
          hostIntegers(expertId_TK).forEach((e, slot) => {
            const t = Math.floor(slot / k);
            if (e >= 0 && isCounted(batch, t))
              sums.get(layer)![batch.language_BS[t]][e] += gates[slot] * norm_M[row_N[slot]];
          });
        },
      });
    });
    await new Promise(setImmediate);
  }
  const spoken = counted.filter(language => tokens[language] > 0);
  const mean = (layer: number, e: number): number =>
    spoken.reduce((sum, language) => sum + sums.get(layer)![language][e] / tokens[language], 0);
  const of = (layer: number) => Float64Array.from({ length: spec.numExperts }, (_, e) => mean(layer, e));
  return new Map(layers.map(layer => [layer, normalised(of(layer))]));
}

/** [T·k] row of each slot among rows sorted by expert. */
function rowsOf(expertId_TK: Int32Array, numExperts: number): Int32Array {
  const next_E = new Int32Array(numExperts + 1);
  for (const e of expertId_TK) if (e >= 0) next_E[e + 1]++;
  for (let e = 0; e < numExperts; e++) next_E[e + 1] += next_E[e];
  return expertId_TK.map(e => (e < 0 ? -1 : next_E[e]++));
}
