// `moe inspect`: what a configuration or a checkpoint is, without training it and without allocating its weights.
import { existsSync, statSync } from 'node:fs';
import { stringify } from 'yaml';
import type { FamilyMap } from '../config/families.ts';
import { loadConfig } from '../config/load.ts';
import { type ModelFolder, readModelFolder } from '../hub/model-folder.ts';
import { type StoredSize, storedSize } from '../hub/stored-size.ts';
import { countParameters } from '../model/count.ts';
import { expertsIn, type ModelSpec, modelSpec } from '../model/spec.ts';
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
  /** Of a checkpoint. */
  folder?: ModelFolder;
}

export function inspect(path: string, options: Options): void {
  const out = createOutput(options.json ?? false);
  const { name, spec, map, settings, folder } = isFolder(path) ? ofCheckpoint(path) : ofConfig(path, options);
  const count = countParameters(spec);
  const dense = countParameters({ ...spec, layers: spec.layers.map(() => 'dense' as const) });
  if (options.settings && settings !== null) out.say(stringify(settings));
  const byExpert = map.expertNames.map((expert, id) => {
    const served = map.languages.filter(language => language.expert === id);
    return [id, expert, served.length, served.map(({ code }) => code).join(' ')];
  });
  if (map.languages.length > 0) out.say(`${table(['expert', 'serves', 'languages', 'codes'], byExpert, '')}\n`);
  const sparse = spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  out.say(`${name}: ${expertsSentence(spec, map, sparse)}`);
  if (folder) out.say(shapeSentence(folder));
  const total = `parameters ${thousands(count.total)} in ${count.tensors} tensors`;
  const split = `active per token ${thousands(count.active)}, one expert ${thousands(count.expert)}`;
  out.say(map.numExperts > 0 ? `${total}, ${split}; as a dense model ${thousands(dense.total)}` : total);
  const stored = folder && storedSize(folder);
  if (stored) out.say(weightsSentence(spec, stored));
  out.result({
    name,
    architecture: folder?.modelType,
    languages: map.languages.length,
    experts: map.numExperts,
    k: spec.num_experts_per_tok,
    moeLayers: sparse,
    parameters: { ...count, dense: dense.total },
    vocabulary: spec.vocab_size,
    context: spec.max_position_embeddings,
    tied: spec.tie_word_embeddings,
    stored,
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
  const folder = readModelFolder(checkpoint);
  return { name: checkpoint, spec: folder.spec, map: folder.map, settings: null, folder };
}

function expertsSentence(spec: ModelSpec, map: FamilyMap, sparse: number[]): string {
  const languages = map.languages.length > 0 ? `${map.languages.length} languages, ` : '';
  if (map.numExperts === 0) return `${languages}${spec.layers.length} dense layers`;
  const where = `MoE in layers ${sparse.join(', ') || 'none'} of 0–${spec.layers.length - 1}`;
  const left = spec.kept_experts ? ` (pruned: ${sparse.map(layer => expertsIn(spec, layer)).join(', ')} left)` : '';
  return `${languages}${map.numExperts} experts${left}, k ${spec.num_experts_per_tok}, ${where}`;
}

function shapeSentence({ modelType, spec }: ModelFolder): string {
  const { decoder } = spec;
  const heads = `${spec.num_attention_heads} query and ${spec.num_key_value_heads} key-value heads of ${decoder.head_dim}`;
  const widths = [
    ...(spec.layers.includes('dense') ? [`networks ${spec.intermediate_size}`] : []),
    ...(spec.layers.includes('moe') ? [`experts ${decoder.moe_intermediate_size}`] : []),
    ...(spec.shared_expert ? [`shared expert ${decoder.shared_expert_intermediate_size}`] : []),
  ];
  const windows = [...new Set(decoder.window_L)].filter(window => window !== null);
  const seen = windows.length > 0 ? `, windows of ${windows.join(' and ')}` : '';
  return `${modelType}: width ${spec.hidden_size}, ${heads}, ${widths.join(', ')}; context ${thousands(spec.max_position_embeddings)}${seen}, vocabulary ${thousands(spec.vocab_size)}`;
}

function weightsSentence(spec: ModelSpec, { dtypes, bytes, files, tiedHeadStored, fusedExperts }: StoredSize): string {
  const types = Object.entries(dtypes).map(([dtype, count]) => `${thousands(count)} in ${dtype}`);
  const head = spec.tie_word_embeddings ? `tied to the embedding${tiedHeadStored ? ', but stored' : ''}` : 'its own';
  return `weights: ${types.join(', ')}; ${thousands(bytes)} bytes in ${files} ${files === 1 ? 'file' : 'files'}${fusedExperts ? ', all experts of a layer in one tensor' : ''}; the output head is ${head}`;
}
