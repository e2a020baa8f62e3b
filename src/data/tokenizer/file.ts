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
  single_word?: boolean;
}
interface TokenizerFile {
  added_tokens?: AddedToken[];
  pre_tokenizer?: PreTokenizer | null;
}
interface PreTokenizer {
  type?: string;
  use_regex?: boolean;
  add_prefix_space?: boolean;
  pretokenizers?: PreTokenizer[];
}

/** How a ByteLevel pre-tokenizer cuts that has no rule of its own: GPT-2's. */
const BYTE_LEVEL_RULE = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Reads a tokenizer.json. `eosToken` names the end-of-text token where the usual names are not in the file.
 *  Errors (UserError): no such file, not JSON, a kind of tokenizer that the library does not read or
 *  reads wrongly, no end-of-text token. */
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

function parse(json: string, path: string): TokenizerFile {
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
  const whole = (file as TokenizerFile).added_tokens?.find(token => token?.single_word);
  if (whole) {
    throw new UserError(
      `${path} has the token "${whole.content}" for whole words only (single_word), which is not read: give another tokenizer.json`,
    );
  }
  return file as TokenizerFile;
}

/** The library cuts by JavaScript's \s, where U+0085 is no white space and U+FEFF is; a rule that the file itself states
 *  it translates. So the unstated one is stated. A space put before the text must come first: that case is left. */
function stateRule(rule: PreTokenizer): PreTokenizer {
  if (rule.type === 'Sequence' && Array.isArray(rule.pretokenizers))
    return { ...rule, pretokenizers: rule.pretokenizers.map(stateRule) };
  if (rule.type !== 'ByteLevel' || rule.use_regex === false || rule.add_prefix_space) return rule;
  const split = { type: 'Split', pattern: { Regex: BYTE_LEVEL_RULE }, behavior: 'Isolated', invert: false };
  return { type: 'Sequence', pretokenizers: [split, { ...rule, use_regex: false }] };
}

function open(file: TokenizerFile, path: string): LibraryTokenizer {
  const complete = {
    added_tokens: [],
    normalizer: null,
    post_processor: null,
    decoder: null,
    ...file,
    pre_tokenizer: file.pre_tokenizer ? stateRule(file.pre_tokenizer) : null,
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
