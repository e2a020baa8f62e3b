// `moe generate`: talk to what was trained.
import pc from 'picocolors';
import { type ChatMessage, openChat } from '../data/chat.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { beamSearch } from '../eval/beam.ts';
import { generate } from '../eval/generate.ts';
import { readMode } from '../eval/modes.ts';
import type { RoutingChoice } from '../eval/next-logits.ts';
import { disposeModel } from '../model/weights.ts';
import { type OpenedModel, openForInference } from '../train/open.ts';
import { createRng } from '../train/rng.ts';
import { useBackend } from './backend.ts';
import { createOutput } from './output.ts';
import { findCheckpoint } from './runs.ts';

interface Options {
  prompt?: string;
  chat?: string;
  system?: string;
  language?: string;
  routing?: string;
  tokens: number;
  beams?: number;
  temperature: number;
  topP: number;
  seed: number;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

export async function continuePrompt(path: string | undefined, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  checkOptions(options);
  const { checkpoint } = findCheckpoint(path);
  const text = options.chat === undefined ? options.prompt! : chatText(checkpoint, options.chat, options.system);
  await useBackend(options.backend, options);
  const opened = openForInference(checkpoint);
  const { model, tokenizer } = opened;
  const languageExpert = expertOf(opened, options.language);
  const mode = readMode(options.routing, model.spec.router);
  if (mode !== 'free' && languageExpert === null)
    throw new UserError(`--routing ${mode} needs --language CODE; add it, or use --routing free.`);
  const prompt = promptIds(opened, text, options);
  if (!out.json) process.stdout.write(pc.dim(text));
  const made: number[] = [];
  let shown = '';
  for await (const id of tokensOf(opened, prompt, options, { mode, languageExpert })) {
    made.push(id);
    const said = tokenizer.decode(made);
    // A character may span tokens: hold back until its last byte is there.
    if (out.json || said.endsWith('\ufffd')) continue;
    process.stdout.write(said.slice(shown.length));
    shown = said;
  }
  if (!out.json) process.stdout.write(`${tokenizer.decode(made).slice(shown.length)}\n`);
  disposeModel(model);
  out.result({ prompt: text, text: tokenizer.decode(made), tokens: made, routing: mode });
}

function checkOptions({ prompt, chat, system, topP }: Options): void {
  if (topP <= 0 || topP > 1) throw new UserError(`--top-p ${topP} is out of range; give a share above 0 and up to 1.`);
  if (prompt === undefined && chat === undefined)
    throw new UserError(
      'there is nothing to continue; give --prompt TEXT, or --chat TEXT for a question to a chat model.',
    );
  if (system !== undefined && chat === undefined)
    throw new UserError('--system goes before a question; add --chat TEXT.');
}

function chatText(checkpoint: string, question: string, system: string | undefined): string {
  const messages: ChatMessage[] = [{ role: 'user', content: question }];
  if (system !== undefined) messages.unshift({ role: 'system', content: system });
  return openChat(checkpoint)(messages, { addGenerationPrompt: true, now: new Date() });
}

/** A chat template has its own start of text. */
function promptIds({ model: { spec }, tokenizer }: OpenedModel, text: string, { chat }: Options): Int32Array {
  const option = chat === undefined ? '--prompt' : '--chat';
  const composed = text.normalize('NFC');
  const ids = chat === undefined ? tokenizer.encodePrompt(composed) : tokenizer.encode(composed);
  if (ids.length === 0) throw new UserError(`${option} is empty; give at least one letter.`);
  const foreign = ids.find(id => id >= spec.vocab_size);
  if (foreign !== undefined)
    throw new UserError(
      `${option} has token ${foreign} by tokenizer.json, but the model has ${spec.vocab_size}; use the model's own tokenizer.json.`,
    );
  if (ids.length >= spec.max_position_embeddings)
    throw new UserError(
      `${option} has ${ids.length} tokens, the model takes ${spec.max_position_embeddings}; shorten it.`,
    );
  return ids;
}

async function* tokensOf(
  { model, eosIds }: OpenedModel,
  prompt: Int32Array,
  options: Options,
  routing: RoutingChoice,
): AsyncGenerator<number> {
  const { tokens: maxTokens, beams, seed, temperature, topP } = options;
  const settings = { ...routing, maxTokens, eosIds };
  if (beams === undefined) {
    const random = createRng(`${seed}/generate`).uniform;
    yield* generate(model, prompt, { ...settings, temperature, topP, random });
  } else {
    const [best] = await beamSearch(model, prompt, { ...settings, beams, lengthPenalty: 1, earlyStopping: false });
    yield* best.ids;
  }
}

function expertOf({ map }: OpenedModel, code: string | undefined): number | null {
  if (code === undefined) return null;
  const language = map.languages.find(known => known.code === code);
  if (!language)
    throw new UserError(
      `--language ${code} is not a language of this model; choose from ${map.languages.map(l => l.code).join(' ')}.`,
    );
  return language.expert;
}
