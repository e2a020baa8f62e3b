// What a forward pass is given: flat per-token arrays, row-major over B sequences of S positions.
import type { Batch } from '../data/types.ts';

export interface TokenInput {
  batch: number;
  sequence: number;
  id_T: Int32Array;
  /** RoPE position. */
  position_T: Int32Array;
  /** Attention group, −1 for padding. */
  segment_T: Int32Array;
  /** Expert of the token's language, −1 for padding; null when no language ids are given. */
  languageExpert_T: Int32Array | null;
  /** 1 for a real token, 0 for padding. */
  counted_T: Uint8Array;
  /** 1 where an intervention holds; absent: at every token. */
  acted_T?: Uint8Array;
}

/** @param expertOfLanguage expert id by language id; null withholds the language ids
 *  @param actsOn language ids at whose tokens an intervention holds; absent: at all */
export function tokenInput(
  batch: Batch,
  expertOfLanguage: Int32Array | null,
  actsOn?: ReadonlySet<number>,
): TokenInput {
  return {
    batch: batch.batch,
    sequence: batch.sequence,
    id_T: batch.inputId_BS,
    position_T: batch.position_BS,
    segment_T: batch.segment_BS,
    languageExpert_T:
      expertOfLanguage && batch.language_BS.map(language => (language < 0 ? -1 : expertOfLanguage[language]!)),
    counted_T: Uint8Array.from(batch.segment_BS, segment => (segment < 0 ? 0 : 1)),
    acted_T: actsOn && Uint8Array.from(batch.language_BS, language => Number(actsOn.has(language))),
  };
}
