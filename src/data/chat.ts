// A question as the model was taught to see it: the chat template beside its tokenizer (Jinja, as the transformers
// library renders it) puts roles and special tokens around each message.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { UserError } from '../errors.ts';

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

export interface ChatOptions {
  /** End with what opens the assistant's answer. */
  addGenerationPrompt: boolean;
  /** What a template that writes the date is told. */
  now: Date;
}

/** Renders messages. @throws UserError when the template refuses them or cannot be run */
export type RenderChat = (messages: ChatMessage[], options: ChatOptions) => string;

interface TokenizerConfig {
  chat_template?: string | { name: string; template: string }[];
  [key: string]: unknown;
}

/** What templates may call and name, as the library gives it to them. */
const GLOBALS = {
  ...{ true: true, True: true, false: false, False: false, none: null, None: null },
  raise_exception(message: string) {
    throw new Error(message);
  },
  range,
};
const SPECIAL_TOKENS = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map(name => `${name}_token`);

/** Opens the template of a model folder: chat_template.jinja, else `chat_template` of tokenizer_config.json (of several
 *  the one called default). Special tokens are those of tokenizer_config.json, else of special_tokens_map.json.
 *  @throws UserError when there is none, or it is not one */
export function openChat(directory: string): RenderChat {
  const config = readConfig(join(directory, 'tokenizer_config.json'));
  const { source, path } = findTemplate(directory, config);
  const tokens = specialTokens([config, readConfig(join(directory, 'special_tokens_map.json'))]);
  const template = attempt(`${path} has a chat template that cannot be read`, () => new Template(source));
  return (messages, { addGenerationPrompt, now }) =>
    attempt(`the chat template of ${path} refuses these messages`, () =>
      run(template, {
        ...GLOBALS,
        ...tokens,
        messages,
        tools: null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
        strftime_now: (format: string) => formatDate(now, format),
      }),
    );
}

/** Template.render would bring a clock and a locale of its own. */
function run(template: Template, values: Record<string, unknown>): string {
  const environment = new Environment();
  for (const [name, value] of Object.entries(values)) environment.set(name, value);
  return String(new Interpreter(environment).run(template.parsed).value);
}

function findTemplate(
  directory: string,
  { chat_template: inConfig }: TokenizerConfig,
): { source: string; path: string } {
  const path = join(directory, 'chat_template.jinja');
  if (existsSync(path)) return { source: readFileSync(path, 'utf8'), path };
  const source = Array.isArray(inConfig) ? inConfig.find(({ name }) => name === 'default')?.template : inConfig;
  if (typeof source === 'string') return { source, path: join(directory, 'tokenizer_config.json') };
  throw new UserError(
    `${directory} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); give the whole text with --prompt.`,
  );
}

function readConfig(path: string): TokenizerConfig {
  if (!existsSync(path)) return {};
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError(`${path} is not valid JSON (${oneLine(error)}); fetch it again.`);
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as TokenizerConfig;
  throw new UserError(`${path} is not a JSON object; fetch it again.`);
}

/** Each is a text, or a map with it as `content`; the first file that has one decides. */
function specialTokens(files: TokenizerConfig[]): Record<string, string> {
  const textOf = (token: unknown): unknown => (token as { content?: unknown } | null | undefined)?.content ?? token;
  const found = SPECIAL_TOKENS.map(name => [name, files.map(file => textOf(file[name])).find(isText)]);
  return Object.fromEntries(found.filter(([, text]) => isText(text)));
}

const isText = (value: unknown): value is string => typeof value === 'string';

function attempt<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new UserError(`${what} (${oneLine(error)}).`);
  }
}

const oneLine = (error: unknown): string => (error as Error).message.replace(/\s+/g, ' ').trim();

/** The codes of strftime that templates use, in English whatever the person's locale is, in local time. */
function formatDate(now: Date, format: string): string {
  const english = (part: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat('en-US', part).format(now);
  const two = (value: number): string => String(value).padStart(2, '0');
  const codes: Record<string, () => string> = {
    Y: () => String(now.getFullYear()),
    y: () => two(now.getFullYear() % 100),
    m: () => two(now.getMonth() + 1),
    d: () => two(now.getDate()),
    b: () => english({ month: 'short' }),
    B: () => english({ month: 'long' }),
    a: () => english({ weekday: 'short' }),
    A: () => english({ weekday: 'long' }),
    H: () => two(now.getHours()),
    M: () => two(now.getMinutes()),
    S: () => two(now.getSeconds()),
    '%': () => '%',
  };
  return format.replace(/%(.)/g, (text, code: string) => codes[code]?.() ?? text);
}

/** Python's: from 0 or `first` up to below the end. */
function range(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}
