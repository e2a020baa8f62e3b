// A checkpoint without some of its experts: their networks, their rows of the router and their balancing biases are left out, the
// others are numbered anew, and config.json keeps who they were (kept_experts). Tensors that stay are copied byte for byte.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { writeFolderAtomically } from '../hub/atomic.ts';
import { modelCard } from '../hub/export/card.ts';
import { specialTokensOf, writeCompanions } from '../hub/export/companions.ts';
import type { ConfigFacts } from '../hub/export/layout.ts';
import { ownLayout } from '../hub/export/own.ts';
import { PROVENANCE_FILE, type Provenance } from '../hub/export/provenance.ts';
import { checkTiedHead } from '../hub/locate-tensors.ts';
import { type ModelFolder, openWeights } from '../hub/model-folder.ts';
import { readBytes } from '../hub/read-safetensors.ts';
import type { Dtype, TensorEntry } from '../hub/safetensors.ts';
import { type StoredTensor, writeSafetensors } from '../hub/write-safetensors.ts';
import { MODEL_TYPE } from '../model/config-json.ts';
import type { ModelSpec } from '../model/spec.ts';

/** Experts that stay, ascending, by their ids before any pruning, by layer. */
export type Kept = ReadonlyMap<number, readonly number[]>;

/** The shape without them. */
export const prunedSpec = (spec: ModelSpec, kept: Kept): ModelSpec => ({
  ...spec,
  kept_experts: spec.layers
    .map((_, layer) => [...(kept.get(layer) ?? [])])
    .map(list => (list.length > 0 ? list : null)),
});

/** @throws UserError for a model that is pruned already, and for routers that pruning would change otherwise than by masking */
export function refuseUnprunable({ router, capacity_factor, kept_experts }: ModelSpec): void {
  if (kept_experts) throw new UserError('The model is pruned already: prune the one that it was made from, by more.');
  if (router.kind === 'hash' || router.kind === 'expert-choice')
    throw new UserError(`Router ${router.kind} deals tokens out by the number of experts: it cannot be pruned.`);
  if (capacity_factor !== null)
    throw new UserError('capacity_factor gives each expert room by the number of experts: the model cannot be pruned.');
}

/** Writes the smaller checkpoint, whole or not at all. */
export async function writePruned(folder: ModelFolder, kept: Kept, out: string, provenance: Provenance): Promise<void> {
  const { spec, map, directory } = folder;
  const located = openWeights(folder);
  checkTiedHead(located, directory);
  const entries = new Map([...located.tensors, ...biasesIn(located.file.tensors)]);
  const smaller = prunedSpec(spec, kept);
  const tensors = [...entries].flatMap(([name, entry]) => pruned(name, entry, kept));
  const biases = [...entries.keys()].filter(name => name.endsWith(BIAS));
  const tokens = specialTokensOf(folder);
  const facts = {
    dtype: TYPE_NAMES[located.tensors.get('model.embed_tokens.weight')!.dtype] ?? ('float32' as const),
    tokens,
  };
  await writeFolderAtomically(out, async partial => {
    writeFileSync(join(partial, 'config.json'), ownLayout(smaller, map, facts, biases).configJson);
    writeCompanions(directory, partial, tokens, spec.max_position_embeddings);
    await writeSafetensors(join(partial, 'model.safetensors'), tensors, { format: 'pt' });
    writeFileSync(join(partial, PROVENANCE_FILE), `${JSON.stringify(provenance, null, 2)}\n`);
    writeFileSync(join(partial, 'README.md'), modelCard(smaller, 'safetensors', MODEL_TYPE, provenance));
  });
}

/** As config.json names the type of the weights. */
const TYPE_NAMES: Partial<Record<Dtype, ConfigFacts['dtype']>> = { BF16: 'bfloat16', F16: 'float16' };

const BIAS = '.mlp.gate.e_score_correction_bias';
const biasesIn = (tensors: ReadonlyMap<string, TensorEntry>): [string, TensorEntry][] =>
  [...tensors].filter(([name]) => name.endsWith(BIAS));

/** A tensor as it goes into the new file; none for one of an expert that is dropped. */
function pruned(name: string, entry: TensorEntry, kept: Kept): StoredTensor[] {
  const [, layer, rest] = /^model\.layers\.(\d+)\.mlp\.(.*)$/.exec(name) ?? [];
  const ids = kept.get(Number(layer));
  const whole = { name, dtype: entry.dtype, shape: entry.shape, bytes: () => readBytes(entry) };
  if (layer === undefined || !ids) return [whole];
  if (rest === 'gate.weight' || rest === 'gate.e_score_correction_bias')
    return [
      {
        ...whole,
        shape: [ids.length, ...entry.shape.slice(1)],
        bytes: () => rowsOf(readBytes(entry), entry.shape[0], ids),
      },
    ];
  const [, expert, matrix] = /^experts\.(\d+)\.(.*)$/.exec(rest) ?? [];
  if (expert === undefined) return [whole];
  const at = ids.indexOf(Number(expert));
  return at < 0 ? [] : [{ ...whole, name: `model.layers.${layer}.mlp.experts.${at}.${matrix}` }];
}

function rowsOf(bytes: Uint8Array, rows: number, stay: readonly number[]): Uint8Array {
  const size = bytes.length / rows;
  const out = new Uint8Array(stay.length * size);
  stay.forEach((row, i) => {
    out.set(bytes.subarray(row * size, (row + 1) * size), i * size);
  });
  return out;
}
