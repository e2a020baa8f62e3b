// The small files beside the weights: the tokenizer as AutoTokenizer wants it, and what generation needs to stop.
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer } from '../../data/tokenizer/file.ts';
import type { ModelFolder } from '../model-folder.ts';
import { eosTokenId, type SpecialTokens } from './layout.ts';
import { pythonJson } from './python-json.ts';

/** Kept byte for byte where the checkpoint has them. */
const TOKENIZER_FILES = ['tokenizer.json', 'chat_template.jinja', 'special_tokens_map.json'];

/** What config.json says; a model that names no end of text has its tokenizer's. */
export function specialTokensOf({ directory, eosIds }: ModelFolder): SpecialTokens {
  const json = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Record<string, unknown>;
  const idAt = (key: string): number | null => (Number.isSafeInteger(json[key]) ? (json[key] as number) : null);
  const tokenizer = join(directory, 'tokenizer.json');
  const eos = eosIds.length === 0 && existsSync(tokenizer) ? [loadTokenizer(tokenizer).eosId] : eosIds;
  return { bos: idAt('bos_token_id'), eos, pad: idAt('pad_token_id') };
}

/** @param from the checkpoint @param to the new folder @param context positions at most */
export function writeCompanions(from: string, to: string, tokens: SpecialTokens, context: number): void {
  for (const name of TOKENIZER_FILES) copyIfThere(from, to, name);
  if (!copyIfThere(from, to, 'tokenizer_config.json') && existsSync(join(from, 'tokenizer.json')))
    writeFileSync(join(to, 'tokenizer_config.json'), tokenizerConfig(from, tokens, context));
  if (copyIfThere(from, to, 'generation_config.json')) return;
  const generation = { bos_token_id: tokens.bos, eos_token_id: eosTokenId(tokens), pad_token_id: tokens.pad };
  const known = Object.fromEntries(Object.entries(generation).filter(([, id]) => id !== null));
  writeFileSync(join(to, 'generation_config.json'), pythonJson(known));
}

function copyIfThere(from: string, to: string, name: string): boolean {
  const there = existsSync(join(from, name));
  if (there) copyFileSync(join(from, name), join(to, name));
  return there;
}

/** The class that takes tokenizer.json as it is, and the texts of the special ids. */
function tokenizerConfig(from: string, { eos, pad }: SpecialTokens, context: number): string {
  const file = JSON.parse(readFileSync(join(from, 'tokenizer.json'), 'utf8')) as {
    added_tokens?: { id: number; content: string }[];
    model?: { vocab?: Record<string, number> };
  };
  const textOf = (id: number | null | undefined): string | undefined =>
    file.added_tokens?.find(token => token.id === id)?.content ??
    Object.entries(file.model?.vocab ?? {}).find(([, token]) => token === id)?.[0];
  const config = {
    clean_up_tokenization_spaces: false,
    eos_token: textOf(eos[0]),
    model_max_length: context,
    pad_token: textOf(pad),
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
  return pythonJson(config);
}
