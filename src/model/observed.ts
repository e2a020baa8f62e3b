// Where a forward pass sent its tokens, on the host. Tensors that an observer is shown live only during the call and cannot
// be read in it on a GPU, so they are kept until the pass is over and then read together.
// Shapes: T tokens, E experts, k experts per token.
import type { Routing } from '../../routing/types.ts';
import { dropIntegers, type Integers, keepIntegers } from '../engine/integers.ts';
import { readTogether } from '../engine/read-together.ts';
import { type Tensor, tf } from '../engine/tf.ts';

/** The choice of one MoE layer. */
export interface ObservedRouting {
  layer: number;
  /** [T·k]; negative: no expert. */
  expertId_TK: Int32Array;
  /** [T·k] */
  gate_TK: Float32Array;
  k: number;
  /** [T, E] softmax over all experts of the layer, where it was asked for. */
  probabilities_TE?: Float32Array;
}

export interface RoutingRecorder {
  /** For ForwardOptions.onRouting. */
  observe(layer: number, routing: Routing): void;
  /** What was observed since the last read, in that order. Call it outside of tf.tidy. */
  read(): Promise<ObservedRouting[]>;
  /** Frees what was observed and never read. */
  dispose(): void;
}

interface Kept {
  layer: number;
  expertId_TK: Integers;
  gate_TK: Tensor;
  probabilities_TE: Tensor | null;
  k: number;
}

/** @param withProbabilities whether the router's full softmax is read too */
export function recordRoutings(withProbabilities = false): RoutingRecorder {
  let kept: Kept[] = [];
  const dispose = (): void => {
    for (const { expertId_TK, gate_TK, probabilities_TE } of kept) {
      dropIntegers(expertId_TK);
      gate_TK.dispose();
      probabilities_TE?.dispose();
    }
    kept = [];
  };
  return {
    observe(layer, { expertId_TK, gate_TK, probabilities_TE, k }) {
      kept.push({
        layer,
        expertId_TK: keepIntegers(expertId_TK),
        gate_TK: tf.keep(gate_TK.clone()),
        probabilities_TE: withProbabilities ? tf.keep(probabilities_TE.clone()) : null,
        k,
      });
    },
    async read() {
      try {
        const ids = kept.map(({ expertId_TK }) => expertId_TK);
        const gates = kept.map(({ gate_TK }) => gate_TK);
        const softmaxes = kept.flatMap(({ probabilities_TE }) => probabilities_TE ?? []);
        const [id, gate, probability] = await readTogether(ids, gates, softmaxes);
        return kept.map(({ layer, k }, i) => ({
          layer,
          expertId_TK: id[i] instanceof Int32Array ? id[i] : Int32Array.from(id[i]),
          gate_TK: gate[i] as Float32Array,
          k,
          ...(withProbabilities && { probabilities_TE: probability[i] as Float32Array }),
        }));
      } finally {
        dispose();
      }
    },
    dispose,
  };
}
