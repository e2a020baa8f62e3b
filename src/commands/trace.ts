// `moe trace`: writes down where every token of a text goes in a model, or reads it out of another program's files: a trace folder,
// which `moe analyze-routing --trace` analyses.
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { importTrace } from '../trace/import/import.ts';
import type { Recorded } from '../trace/recorded.ts';
import { writeTrace } from '../trace/write.ts';
import { useBackend } from './backend.ts';
import { closeModel } from './memory.ts';
import { createOutput, type Output, thousands } from './output.ts';
import { describe, openTraced, record } from './record.ts';

interface Options {
  model?: string;
  text?: string;
  out: string;
  tokens: number;
  longest?: number;
  routing?: string;
  softmax?: boolean;
  untrainedRouter?: number;
  families?: string;
  import?: string;
  documents?: string;
  experts?: number;
  choices?: number;
  layers?: number[];
  memory?: number;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

export async function trace(path: string | undefined, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  const recorded = options.import === undefined ? await ofModel(path, options, out) : await imported(path, options);
  const files = writeTrace(options.out, recorded);
  const { slots, header, softmax } = recorded;
  const numbers = {
    ...{ documents: header.documents.length, languages: new Set(slots.language).size, tokens: slots.token.length },
    ...{ layers: slots.layers, experts: slots.experts, slots: slots.expert.length, softmax: softmax !== null },
  };
  out.say(
    `${options.out}: ${numbers.documents} documents in ${numbers.languages} languages, ${thousands(numbers.tokens)} tokens, ${slots.layers.length} layers of ${slots.experts} experts.`,
  );
  out.say(`See where languages go: moe analyze-routing --trace ${options.out}`);
  out.result({ trace: options.out, files, ...numbers });
}

async function ofModel(path: string | undefined, options: Options, out: Output): Promise<Recorded> {
  if (path !== undefined && options.model !== undefined)
    throw new UserError(`there are two models, ${path} and --model ${options.model}; leave one of them out.`);
  for (const name of ['documents', 'experts', 'choices', 'layers'] as const)
    if (options[name] !== undefined)
      throw new UserError(
        `--${name} describes another program's files; name their format with --import, or leave it out.`,
      );
  await useBackend(options.backend, options);
  const traced = await openTraced(options.model ?? path, options, out.say);
  out.say(describe(traced, options));
  const recorded = await record(traced, options, out.json);
  closeModel(traced.held.model);
  return recorded;
}

async function imported(path: string | undefined, options: Options): Promise<Recorded> {
  if (path === undefined)
    throw new UserError(
      `there is nothing to import; name the file or folder: moe trace --import ${options.import} PATH.`,
    );
  if (options.documents === undefined)
    throw new UserError(
      'these files do not say which text is which language; give --documents FILE, a JSONL with a row {"language": "en", "item": "…"} for each text.',
    );
  return importTrace(options.import!, path, { ...options, documents: options.documents });
}
