// Encoding and decoding with our own byte-level tokenizers: the ids that @huggingface/tokenizers gives for the same
// tokenizer.json (tested on every language), several times faster. Merge i makes id 256 + i, so "the earliest learned merge
// first" is "the lowest id first", and a word's ids are found once and kept.
import { UserError } from '../../errors.ts';
import type { Tokenizer } from '../types.ts';
import type { ByteLevelModel } from './byte-level.ts';
import { BYTE_TO_CHARACTER, byteLevelJson, EOS_TOKEN, splitter } from './byte-level.ts';

/** Words longer than this are rare: their ids are not kept. */
const LONGEST_KEPT_WORD = 64;
/** Then the table of kept words starts anew, which bounds its memory. */
const MOST_KEPT_WORDS = 2 ** 18;

/** The tokenizer of a model. As in Hugging Face's, the text of EOS_TOKEN inside a text becomes the EOS id. */
export function byteLevelTokenizer(kind: 'bpe' | 'bytes', model: ByteLevelModel): Tokenizer {
  const eosId = 256 + model.merges.length;
  const cut = splitter(model.split);
  const mergeTable = tableOfMerges(model);
  const bytes_V = [...bytesOfTokens(model), Buffer.from(EOS_TOKEN)];
  const kept = new Map<string, Int32Array>();

  const idsOfWord = (word: string): Int32Array => {
    const known = kept.get(word);
    if (known !== undefined) return known;
    const ids = applyMerges(Int32Array.from(Buffer.from(word)), mergeTable, eosId);
    if (kept.size >= MOST_KEPT_WORDS) kept.clear();
    if (word.length <= LONGEST_KEPT_WORD) kept.set(word, ids);
    return ids;
  };
  const encode = (text: string): Int32Array => {
    const pieces: Int32Array[] = [];
    text.split(EOS_TOKEN).forEach((section, i) => {
      if (i > 0) pieces.push(Int32Array.of(eosId));
      for (const word of cut(section.normalize('NFC'))) pieces.push(idsOfWord(word));
    });
    return concatenate(pieces);
  };
  return {
    kind,
    vocabSize: eosId + 1,
    eosId,
    encode,
    encodePrompt: encode,
    decode(ids) {
      const pieces = Array.from(ids, id => {
        if (!(id in bytes_V))
          throw new UserError(`token id ${id} is not in this tokenizer, whose ids are 0 to ${eosId}`);
        return bytes_V[id];
      });
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(pieces));
    },
    toJson: () => byteLevelJson(model),
  };
}

/** Key left · vocabSize + right of each merge → id of the token it makes. */
function tableOfMerges(model: ByteLevelModel): Map<number, number> {
  const vocabSize = 256 + model.merges.length;
  const idOf = new Map(BYTE_TO_CHARACTER.map((character, byte) => [character, byte]));
  const table = new Map<number, number>();
  model.merges.forEach(({ left, right }, i) => {
    table.set(idOf.get(left)! * vocabSize + idOf.get(right)!, 256 + i);
    idOf.set(left + right, 256 + i);
  });
  return table;
}

function bytesOfTokens(model: ByteLevelModel): Uint8Array[] {
  const byteOf = new Map(BYTE_TO_CHARACTER.map((character, byte) => [character, byte]));
  const tokens = [...BYTE_TO_CHARACTER, ...model.merges.map(({ left, right }) => left + right)];
  return tokens.map(token => Uint8Array.from(token, character => byteOf.get(character)!));
}

/** Joins in place, lowest merge first. A joined token takes part only in later merges, so all places of one go in one pass. */
function applyMerges(ids: Int32Array, table: ReadonlyMap<number, number>, vocabSize: number): Int32Array {
  let length = ids.length;
  for (;;) {
    let lowest = vocabSize;
    for (let i = 1; i < length; i++) lowest = Math.min(lowest, table.get(ids[i - 1] * vocabSize + ids[i]) ?? vocabSize);
    if (lowest === vocabSize) return ids.slice(0, length);
    let write = 0;
    for (let read = 0; read < length; write++) {
      const joins = read + 1 < length && table.get(ids[read] * vocabSize + ids[read + 1]) === lowest;
      ids[write] = joins ? lowest : ids[read];
      read += joins ? 2 : 1;
    }
    length = write;
  }
}

function concatenate(pieces: Int32Array[]): Int32Array {
  const all = new Int32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
