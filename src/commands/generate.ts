// `moe generate`: talk to what was trained.
import pc from 'picocolors';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { generate } from '../eval/generate.ts';
import { readMode } from '../eval/modes.ts';
import { disposeModel } from '../model/weights.ts';
import { type OpenedModel, openForInference } from '../train/open.ts';
import { createRng } from '../train/rng.ts';
import { useBackend } from './backend.ts';
import { createOutput } from './output.ts';
import { findCheckpoint } from './runs.ts';

interface Options {
  prompt: string;
  language?: string;
  routing?: string;
  tokens: number;
  temperature: number;
  topP: number;
  seed: number;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

export async function continuePrompt(path: string | undefined, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  if (options.topP <= 0 || options.topP > 1)
    throw new UserError(`--top-p ${options.topP} is out of range; give a share above 0 and up to 1.`);
  await useBackend(options.backend, options);
  const opened = openForInference(findCheckpoint(path).checkpoint);
  const { model, tokenizer, eosIds } = opened;
  const languageExpert = expertOf(opened, options.language);
  const mode = readMode(options.routing, model.spec.router);
  if (mode !== 'free' && languageExpert === null)
    throw new UserError(`--routing ${mode} needs --language CODE; add it, or use --routing free.`);
  const prompt = tokenizer.encodePrompt(options.prompt.normalize('NFC'));
  if (prompt.length === 0) throw new UserError('--prompt is empty; give at least one letter.');
  const foreign = prompt.find(id => id >= model.spec.vocab_size);
  if (foreign !== undefined)
    throw new UserError(
      `--prompt has token ${foreign} by tokenizer.json, but the model has ${model.spec.vocab_size}; use the model's own tokenizer.json.`,
    );
  if (prompt.length >= model.spec.max_position_embeddings)
    throw new UserError(
      `--prompt has ${prompt.length} tokens, the model takes ${model.spec.max_position_embeddings}; shorten it.`,
    );
  const rng = createRng(`${options.seed}/generate`);
  const made: number[] = [];
  let shown = '';
  if (!out.json) process.stdout.write(pc.dim(options.prompt));
  const settings = {
    ...options,
    maxTokens: options.tokens,
    mode,
    languageExpert,
    eosIds,
    random: rng.uniform,
  };
  for await (const id of generate(model, prompt, settings)) {
    made.push(id);
    const text = tokenizer.decode(made);
    // A character may span tokens: hold back until its last byte is there.
    if (out.json || text.endsWith('\ufffd')) continue;
    process.stdout.write(text.slice(shown.length));
    shown = text;
  }
  if (!out.json) process.stdout.write(`${tokenizer.decode(made).slice(shown.length)}\n`);
  disposeModel(model);
  out.result({ prompt: options.prompt, text: tokenizer.decode(made), tokens: made, routing: mode });
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
