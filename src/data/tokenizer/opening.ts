// What a model expects before every text, such as Llama's start token: read off what its tokenizer puts around a word.
import type { Tokenizer } from '../types.ts';

/** Ids before a text; empty for most models. */
export function openingOf(tokenizer: Tokenizer): Int32Array {
  const word = tokenizer.encode('a');
  const around = tokenizer.encodePrompt('a');
  for (let at = 0; at + word.length <= around.length; at++)
    if (word.every((id, i) => around[at + i] === id)) return around.slice(0, at);
  return new Int32Array(0);
}
