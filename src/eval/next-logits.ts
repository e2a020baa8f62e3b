// Logits of the token after each of several texts of one length, which a cache remembers.
// Shapes: B texts, S new tokens, V vocabulary.
import type { RoutingMode } from '../../routing/types.ts';
import { tf } from '../engine/tf.ts';
import type { KvCache } from '../model/kv-cache.ts';
import type { TokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import type { Model } from '../model/weights.ts';

export interface RoutingChoice {
  mode: RoutingMode;
  /** Expert of the text's language, for modes that use it. */
  languageExpert: number | null;
}

/** @param id_BS the next S tokens of each text, the first of them at `position`
 *  @returns [B, V], read from the device */
export async function nextLogits(
  model: Model,
  id_BS: Int32Array,
  batch: number,
  position: number,
  cache: KvCache,
  { mode, languageExpert }: RoutingChoice,
): Promise<Float32Array> {
  const T = id_BS.length;
  const S = T / batch;
  const tokens: TokenInput = {
    batch,
    sequence: S,
    id_T: id_BS,
    position_T: Int32Array.from({ length: T }, (_, t) => position + (t % S)),
    segment_T: new Int32Array(T),
    languageExpert_T: languageExpert === null ? null : new Int32Array(T).fill(languageExpert),
    counted_T: new Uint8Array(T).fill(1),
  };
  const last = tf.tidy(() => {
    const { logits_TV } = forward(model, tokens, { mode, cache });
    return S === 1 ? logits_TV : logits_TV.reshape([batch, S, -1]).slice([0, S - 1, 0], [-1, 1, -1]);
  });
  try {
    return await last.data<'float32'>();
  } finally {
    last.dispose();
  }
}
