// A model folder, ours or a foreign one, as a new folder in a wanted layout: whole or not at all, one tensor in memory at a time.
// Tensors whose type stays are copied byte for byte, so that exporting an export changes nothing.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../errors.ts';
import { writeFolderAtomically } from '../atomic.ts';
import { checkTiedHead } from '../locate-tensors.ts';
import { type ModelFolder, openWeights } from '../model-folder.ts';
import { readBytes, readFloat32 } from '../read-safetensors.ts';
import { type TensorEntry, tensorBytes } from '../safetensors.ts';
import { type StoredTensor, type TensorSource, writeSafetensors } from '../write-safetensors.ts';
import { apolloLayout } from './apollo.ts';
import { modelCard } from './card.ts';
import { specialTokensOf, writeCompanions } from './companions.ts';
import type { ConfigFacts, LaidOut, Layout } from './layout.ts';
import { ownLayout } from './own.ts';
import { PROVENANCE_FILE, type Provenance } from './provenance.ts';
import { qwen2MoeLayout } from './qwen2-moe.ts';
import { divideIntoShards, indexJson } from './shards.ts';

export const TARGETS = ['qwen2-moe', 'apollo', 'safetensors'] as const;
export type Target = (typeof TARGETS)[number];

/** The types that may be written, and their names in config.json. */
const TYPE_NAMES = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' } as const;
export type ExportDtype = keyof typeof TYPE_NAMES;

export interface ExportOptions {
  target: Target;
  /** Of every tensor but balancing biases; null keeps each as it is stored (types other than these three become F32). */
  dtype: ExportDtype | null;
  /** Bytes of tensors in one file. */
  mostBytes: number;
  provenance: Provenance;
}

export interface Exported {
  modelType: string;
  dtype: ExportDtype;
  tensors: number;
  bytes: number;
  files: string[];
}

/** @throws UserError for a model that the target cannot express, a damaged source, a full disk */
export async function exportModel(folder: ModelFolder, out: string, options: ExportOptions): Promise<Exported> {
  const located = openWeights(folder);
  checkTiedHead(located, folder.directory);
  const biases = [...located.file.tensors].filter(([name]) => name.endsWith('.e_score_correction_bias'));
  const entries = new Map([...located.tensors, ...biases]);
  const dtype = options.dtype ?? keptType(located.tensors.get('model.embed_tokens.weight')!);
  const facts = { dtype: TYPE_NAMES[dtype], tokens: specialTokensOf(folder) };
  const layout = layOut(
    folder,
    options.target,
    facts,
    biases.map(([name]) => name),
  );
  const sources = layout.tensors.map(tensor => sourceOf(tensor, entries, options.dtype, dtype));
  const shards = divideIntoShards(sources, options.mostBytes);
  await writeFolderAtomically(out, async partial => {
    writeFileSync(join(partial, 'config.json'), layout.configJson);
    // transformers refuses a safetensors file that does not name its framework.
    for (const { file, tensors } of shards) await writeSafetensors(join(partial, file), tensors, { format: 'pt' });
    if (shards.length > 1) writeFileSync(join(partial, 'model.safetensors.index.json'), indexJson(shards));
    writeCompanions(folder.directory, partial, facts.tokens, folder.spec.max_position_embeddings);
    writeFileSync(join(partial, PROVENANCE_FILE), `${JSON.stringify(options.provenance, null, 2)}\n`);
    writeFileSync(
      join(partial, 'README.md'),
      modelCard(folder.spec, options.target, layout.modelType, options.provenance),
    );
  });
  return {
    modelType: layout.modelType,
    dtype,
    tensors: sources.length,
    bytes: sources.reduce((sum, tensor) => sum + tensorBytes(tensor), 0),
    files: shards.map(({ file }) => file),
  };
}

function layOut({ spec, map }: ModelFolder, target: Target, facts: ConfigFacts, biases: string[]): Layout {
  if (target === 'qwen2-moe') return qwen2MoeLayout(spec, facts);
  return target === 'apollo' ? apolloLayout(spec, facts) : ownLayout(spec, map, facts, biases);
}

const keptType = ({ dtype }: TensorEntry): ExportDtype => (dtype in TYPE_NAMES ? (dtype as ExportDtype) : 'F32');

/** @param wanted of every tensor, or null @param usual of zeros */
function sourceOf(
  { name, shape, from }: LaidOut,
  entries: ReadonlyMap<string, TensorEntry>,
  wanted: ExportDtype | null,
  usual: ExportDtype,
): TensorSource | StoredTensor {
  if (from === null) {
    const zeros = { name, shape, dtype: usual };
    return { ...zeros, bytes: () => new Uint8Array(tensorBytes(zeros)) };
  }
  const entry = entries.get(from)!;
  // Balancing moves a bias by less than 16 bits can tell.
  const dtype = wanted === null || from.endsWith('.e_score_correction_bias') ? keptType(entry) : wanted;
  if (dtype === entry.dtype) return { name, shape, dtype, bytes: () => readBytes(entry) };
  return { name, shape, dtype, values: () => (dtype === 'F16' ? withinF16(entry) : readFloat32(entry)) };
}

const LARGEST_F16 = 65504;

/** @throws UserError for a number that would become infinite */
function withinF16(entry: TensorEntry): Float32Array {
  const value_N = readFloat32(entry);
  const tooLarge = value_N.find(value => Math.abs(value) > LARGEST_F16 && Number.isFinite(value));
  if (tooLarge === undefined) return value_N;
  throw new UserError(
    `--dtype f16 ends at ${LARGEST_F16} and tensor "${entry.name}" holds ${tooLarge}; use bf16, which has the range of f32.`,
  );
}
