// `moe inspect`: what a configuration or a checkpoint is, without training it and without allocating its weights.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { FamilyMap } from '../config/families.ts';
import { loadConfig } from '../config/load.ts';
import { readConfigJson } from '../model/config-json.ts';
import { countParameters } from '../model/count.ts';
import { type ModelSpec, modelSpec } from '../model/spec.ts';
import { createOutput, table, thousands } from './output.ts';
import { findCheckpoint } from './runs.ts';

interface Options {
  preset: string[];
  set: [string, unknown][];
  settings?: boolean;
  json?: boolean;
}
interface Subject {
  name: string;
  spec: ModelSpec;
  map: FamilyMap;
  /** Settings to print; null for a checkpoint. */
  settings: unknown;
}

export function inspect(path: string, options: Options): void {
  const out = createOutput(options.json ?? false);
  const { name, spec, map, settings } = isFolder(path) ? ofCheckpoint(path) : ofConfig(path, options);
  const count = countParameters(spec);
  const dense = countParameters({ ...spec, layers: spec.layers.map(() => 'dense' as const) });
  if (options.settings && settings !== null) out.say(stringify(settings));
  const byExpert = map.expertNames.map((expert, id) => {
    const served = map.languages.filter(language => language.expert === id);
    return [id, expert, served.length, served.map(({ code }) => code).join(' ')];
  });
  out.say(table(['expert', 'serves', 'languages', 'codes'], byExpert, ''));
  const sparse = spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  out.say(
    `\n${name}: ${map.languages.length} languages, ${map.numExperts} experts, k ${spec.num_experts_per_tok}, MoE in layers ${sparse.join(', ') || 'none'} of 0–${spec.layers.length - 1}`,
  );
  out.say(
    `parameters ${thousands(count.total)} in ${count.tensors} tensors, active per token ${thousands(count.active)}, one expert ${thousands(count.expert)}; as a dense model ${thousands(dense.total)}`,
  );
  out.result({
    name,
    languages: map.languages.length,
    experts: map.numExperts,
    k: spec.num_experts_per_tok,
    moeLayers: sparse,
    parameters: { ...count, dense: dense.total },
    vocabulary: spec.vocab_size,
  });
}

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

function ofConfig(path: string, options: Options): Subject {
  const { config, map } = loadConfig(path, { presets: options.preset, overrides: options.set });
  const { families, ...settings } = config;
  const vocabulary = config.model.vocab_size ?? ('vocab_size' in config.tokenizer ? config.tokenizer.vocab_size : 257);
  return {
    name: config.name,
    spec: modelSpec(config.model, config.router, map, vocabulary),
    map,
    settings: { ...settings, families: families.name },
  };
}

function ofCheckpoint(path: string): Subject {
  const { checkpoint } = findCheckpoint(path);
  return { name: checkpoint, ...readConfigJson(join(checkpoint, 'config.json')), settings: null };
}
