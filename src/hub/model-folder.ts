// A folder with config.json and safetensors, ours or of the transformers library: config.json decides. Opening it reads
// headers only; tensors are read one by one, each when it is asked for.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FamilyMap } from '../config/families.ts';
import { UserError } from '../errors.ts';
import { fromConfigJson, MODEL_TYPE } from '../model/config-json.ts';
import { type ModelSpec, tensorSpecs } from '../model/spec.ts';
import type { HalfMatrix, HostTensor } from '../model/weights.ts';
import { architectureOf } from './architectures/registry.ts';
import { checkTiedHead, type Located, locateTensors, type Naming } from './locate-tensors.ts';
import { openCheckpoint, readBfloat16, readFloat32 } from './read-safetensors.ts';
import type { Safetensors, TensorEntry } from './safetensors.ts';
import { onOneLine } from './show.ts';

export interface ModelFolder {
  directory: string;
  /** config.json's model_type. */
  modelType: string;
  spec: ModelSpec;
  /** Of a foreign model: no languages, and experts named by number. */
  map: FamilyMap;
  /** Ids that end a text, as generation_config.json or config.json says; empty where neither does. */
  eosIds: number[];
  naming: Naming;
}

/** Our selection biases, which createModel takes from among the tensors. */
const SELECTION_BIAS = /\.mlp\.gate\.e_score_correction_bias$/;
const OURS: Naming = { modelType: MODEL_TYPE, unread: () => SELECTION_BIAS };

/** Reads and checks the configuration. @throws UserError when it is missing, damaged, or of a model that we cannot compute */
export function readModelFolder(directory: string): ModelFolder {
  const file = join(directory, 'config.json');
  const json = readJson(file);
  if (json === null)
    throw new UserError(`${file} is missing; name a folder with a model, config.json and model.safetensors.`);
  const eosIds = eosIdsOf(readJson(join(directory, 'generation_config.json')), json);
  if (json.model_type === MODEL_TYPE)
    return { directory, modelType: MODEL_TYPE, ...fromConfigJson(json, file), eosIds, naming: OURS };
  const naming = architectureOf(json.model_type, file, MODEL_TYPE);
  const spec = naming.spec({ json, file });
  const map: FamilyMap = {
    languages: [],
    numExperts: spec.numExperts,
    expertNames: Array.from({ length: spec.numExperts }, (_, e) => `expert ${e}`),
  };
  return { directory, modelType: naming.modelType, spec, map, eosIds, naming };
}

/** Null for a file that is not there. */
function readJson(path: string): Record<string, unknown> | null {
  if (!existsSync(path)) return null;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError(`${path} is not valid JSON (${onOneLine((error as Error).message)}); fetch it again.`);
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Record<string, unknown>;
  throw new UserError(`${path} is not a JSON object; fetch it again.`);
}

function eosIdsOf(generation: Record<string, unknown> | null, config: Record<string, unknown>): number[] {
  const ids = generation?.eos_token_id ?? config.eos_token_id ?? [];
  return [ids].flat().filter((id): id is number => Number.isSafeInteger(id));
}

/** Headers of the weights, and where each tensor lies. @throws UserError for missing, mis-shaped and unknown tensors */
export function openWeights({ directory, spec, naming }: ModelFolder): Located & { file: Safetensors } {
  const file = openCheckpoint(directory);
  return { ...locateTensors(spec, file, naming, directory), file };
}

export interface ReadOptions {
  /** Leave matrices that the file has in BF16 so, but for routers, whose decisions keep fp32. For inference. */
  halves: boolean;
}

/** The tensors by our names; values are read when asked for, so that no more than one tensor is in memory twice. */
export function readTensors(folder: ModelFolder, { halves }: ReadOptions): Map<string, HostTensor | HalfMatrix> {
  const located = openWeights(folder);
  checkTiedHead(located, folder.directory);
  const routers = new Set(tensorSpecs(folder.spec).flatMap(({ name, role }) => (role === 'router' ? [name] : [])));
  const inHalves = (name: string, { dtype, shape }: TensorEntry): boolean =>
    halves && dtype === 'BF16' && shape.length === 2 && !routers.has(name);
  const out = new Map<string, HostTensor | HalfMatrix>();
  for (const [name, entry] of [...located.tensors, ...selectionBiases(folder, located.file)])
    out.set(name, inHalves(name, entry) ? halfMatrix(entry) : hostTensor(entry));
  return out;
}

const selectionBiases = ({ naming }: ModelFolder, { tensors }: Safetensors): [string, TensorEntry][] =>
  naming === OURS ? [...tensors].filter(([name]) => SELECTION_BIAS.test(name)) : [];

const halfMatrix = (entry: TensorEntry): HalfMatrix => ({
  shape: [...entry.shape],
  get halves() {
    return readBfloat16(entry);
  },
});
const hostTensor = (entry: TensorEntry): HostTensor => ({
  shape: [...entry.shape],
  get values() {
    return readFloat32(entry);
  },
});
