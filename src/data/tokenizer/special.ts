// Which ids are no text: begin and end, padding and the marks that a chat template puts around messages. Measures leave them out.
// An id is special when it ends a text; when tokenizer.json says so of an added token; when tokenizer_config.json names it
// (bos_token, pad_token, additional_special_tokens, …); or when it is an added token that the chat template writes out.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../errors.ts';
import { onOneLine } from '../../hub/show.ts';
import type { Tokenizer } from '../types.ts';

interface AddedToken {
  id: number;
  content: string;
  special?: boolean;
}

/** @param directory of the model, where tokenizer_config.json and chat_template.jinja may stand @param eosIds ids that end a text
 *  @throws UserError for a tokenizer_config.json that is not JSON */
export function specialIds(directory: string, tokenizer: Tokenizer, eosIds: readonly number[]): Set<number> {
  const { added_tokens = [] }: { added_tokens?: AddedToken[] } = JSON.parse(tokenizer.toJson());
  const config = tokenizerConfig(join(directory, 'tokenizer_config.json'));
  const named = new Set(
    Object.entries(config).flatMap(([key, value]) => (/_tokens?$/.test(key) ? textsOf(value) : [])),
  );
  const template = [textOf(join(directory, 'chat_template.jinja')), JSON.stringify(config.chat_template ?? '')].join(
    '\n',
  );
  const special = added_tokens.filter(
    ({ content, special }) => special || named.has(content) || (content.trim() !== '' && template.includes(content)),
  );
  return new Set([...special.map(({ id }) => id), ...eosIds, tokenizer.eosId]);
}

/** A token is a text, a map with it as `content`, or a list of these. */
function textsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(textsOf);
  const text = (value as { content?: unknown } | null)?.content ?? value;
  return typeof text === 'string' ? [text] : [];
}

const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

function tokenizerConfig(path: string): Record<string, unknown> {
  const text = textOf(path);
  try {
    const config: unknown = text === '' ? {} : JSON.parse(text);
    return typeof config === 'object' && config !== null ? (config as Record<string, unknown>) : {};
  } catch (error) {
    throw new UserError(`${path} is not valid JSON (${onOneLine((error as Error).message)}); fetch it again.`);
  }
}
