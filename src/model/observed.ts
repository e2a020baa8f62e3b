// Where a forward pass sent its tokens, on the host. Tensors that an observer is shown live only during the call and cannot
// be read in it on a GPU, so they are kept until the pass is over and then read together.
// Shapes: T tokens, k experts per token.
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
  k: number;
}

export function recordRoutings(): RoutingRecorder {
  let kept: Kept[] = [];
  const dispose = (): void => {
    for (const { expertId_TK, gate_TK } of kept) {
      dropIntegers(expertId_TK);
      gate_TK.dispose();
    }
    kept = [];
  };
  return {
    observe(layer, { expertId_TK, gate_TK, k }) {
      kept.push({ layer, expertId_TK: keepIntegers(expertId_TK), gate_TK: tf.keep(gate_TK.clone()), k });
    },
    async read() {
      try {
        const ids = kept.map(({ expertId_TK }) => expertId_TK);
        const gates = kept.map(({ gate_TK }) => gate_TK);
        const [id, gate] = await readTogether(ids, gates);
        return kept.map(({ layer, k }, i) => ({
          layer,
          expertId_TK: id[i] instanceof Int32Array ? id[i] : Int32Array.from(id[i]),
          gate_TK: gate[i] as Float32Array,
          k,
        }));
      } finally {
        dispose();
      }
    },
    dispose,
  };
}
