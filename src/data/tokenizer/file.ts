// Any Hugging Face tokenizer.json: ours is recognised and runs on our own encoder, every other through
// @huggingface/tokenizers. The file is kept as it was read, so that a checkpoint carries the same bytes on.
import { readFileSync } from 'node:fs';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { UserError } from '../../errors.ts';
import { onOneLine } from '../../hub/show.ts';
import type { Tokenizer } from '../types.ts';
import { parseByteLevelJson } from './byte-level.ts';
import { byteLevelTokenizer } from './byte-level-tokenizer.ts';

/** Tokens that mean "end of text" in published tokenizers, in the order in which they are looked for. */
const EOS_TOKENS = ['<|endoftext|>', '<|end_of_text|>', '</s>', '<eos>', '<|eos|>', '[EOS]'];

/** The part of the library's Tokenizer that is used here (its own types do not resolve under `nodenext`). */
interface LibraryTokenizer {
  model: { vocab: (string | undefined)[] };
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { clean_up_tokenization_spaces: boolean; skip_special_tokens: boolean }): string;
}
interface AddedToken {
  id: number;
  content: string;
}

/** Reads a tokenizer.json. `eosToken` names the end-of-text token where the usual names are not in the file.
 *  Errors (UserError): no such file, not JSON, a kind of tokenizer that the library does not read, no end-of-text token. */
export function loadTokenizer(path: string, eosToken?: string): Tokenizer {
  const json = readText(path);
  const file = parse(json, path);
  const ours = parseByteLevelJson(json);
  if (ours !== null) return byteLevelTokenizer(ours.split === 'none' ? 'bytes' : 'bpe', ours);
  const library = open(file, path);
  const { vocab } = library.model;
  const idsOf = (text: string, add_special_tokens: boolean): Int32Array => {
    const { ids, tokens } = library.encode(text, { add_special_tokens });
    const unknown = ids.indexOf(undefined);
    if (unknown >= 0) throw new UserError(`${path} has no token for "${tokens[unknown]}": use a tokenizer that has`);
    return Int32Array.from(ids as number[]);
  };
  return {
    kind: 'file',
    vocabSize: vocab.length,
    eosId: findEos(file.added_tokens ?? [], vocab, eosToken, path),
    encode: text => idsOf(text, false),
    encodePrompt: text => idsOf(text, true),
    decode(ids) {
      const options = { clean_up_tokenization_spaces: false, skip_special_tokens: false };
      return ids.length === 0 ? '' : library.decode(Array.from(ids), options);
    },
    toJson: () => json,
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UserError(`cannot read the tokenizer ${path} (${(error as NodeJS.ErrnoException).code}): check the path`);
  }
}

function parse(json: string, path: string): { added_tokens?: AddedToken[] } {
  let file: unknown;
  try {
    file = JSON.parse(json);
  } catch (error) {
    throw new UserError(
      `${path} is not JSON (${onOneLine((error as Error).message)}): give a tokenizer.json of Hugging Face's format`,
    );
  }
  const model = (file as { model?: unknown } | null)?.model;
  if (typeof model !== 'object' || model === null) {
    throw new UserError(`${path} has no "model": give a tokenizer.json of Hugging Face's format`);
  }
  return file as { added_tokens?: AddedToken[] };
}

function open(file: object, path: string): LibraryTokenizer {
  const complete = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...file,
  };
  try {
    return new HuggingFaceTokenizer(complete, {}) as LibraryTokenizer;
  } catch (error) {
    throw new UserError(
      `${path} cannot be used as a tokenizer (${onOneLine((error as Error).message)}): give another tokenizer.json`,
    );
  }
}

function findEos(
  added: AddedToken[],
  vocab: (string | undefined)[],
  eosToken: string | undefined,
  path: string,
): number {
  const wanted = eosToken === undefined ? EOS_TOKENS : [eosToken];
  for (const content of wanted) {
    const id = added.find(token => token.content === content)?.id ?? vocab.indexOf(content);
    if (id >= 0) return id;
  }
  throw new UserError(
    `${path} has no end-of-text token (looked for ${wanted.join(' ')}): name one of its tokens as tokenizer.eos`,
  );
}
