// Where each tensor of a model lies in its files: under its own name, under the name that its architecture gives it, or as a
// part of one tensor that holds all experts of a layer. Which of these it is says the file, not its version.
// Shapes: D width, F expert width, E experts; gate_up_proj [E, 2F, D] has the gate's rows first, down_proj [E, D, F].
import { UserError } from '../errors.ts';
import { type ModelSpec, type TensorSpec, tensorSpecs } from '../model/spec.ts';
import { partOf, readBytes } from './read-safetensors.ts';
import type { Safetensors, TensorEntry } from './safetensors.ts';

/** What locating needs to know of an architecture. */
export interface Naming {
  modelType: string;
  alias?(name: string): string | null;
  /** Tensors that may be there although the forward pass never reads them. */
  unread?(spec: ModelSpec): RegExp | null;
}

export interface Located {
  /** By our names, in the order of tensorSpecs. The entry of a part is named as the tensor it is a part of. */
  tensors: Map<string, TensorEntry>;
  /** The stored output head of a model whose head is tied; null where there is none. */
  tiedHead: TensorEntry | null;
}

/** Rotary frequencies, which old versions stored and which follow from the configuration. */
const ROTARY = /\brotary_emb\.inv_freq$/;
const HEAD = 'lm_head.weight';

/** @param from the folder, for messages. @throws UserError naming the first tensor that is missing, mis-shaped or too many */
export function locateTensors(spec: ModelSpec, { tensors }: Safetensors, naming: Naming, from: string): Located {
  const used = new Set<string>();
  const located = new Map<string, TensorEntry>();
  for (const wanted of tensorSpecs(spec)) {
    const entry = find(wanted, spec, tensors, naming, from);
    used.add(entry.name);
    located.set(wanted.name, entry);
  }
  const tiedHead = (spec.tie_word_embeddings && tensors.get(HEAD)) || null;
  if (tiedHead) used.add(HEAD);
  const unread = naming.unread?.(spec);
  for (const name of tensors.keys()) {
    if (used.has(name) || ROTARY.test(name) || unread?.test(name)) continue;
    throw new UserError(
      `${from}: tensor '${name}' has no place in the ${naming.modelType} model of its config.json; the two belong to different models.`,
    );
  }
  return { tensors: located, tiedHead };
}

function find(
  wanted: TensorSpec,
  spec: ModelSpec,
  tensors: ReadonlyMap<string, TensorEntry>,
  naming: Naming,
  from: string,
): TensorEntry {
  for (const name of [wanted.name, naming.alias?.(wanted.name)]) {
    const entry = name && tensors.get(name);
    if (entry) return checked(entry, wanted.shape);
  }
  const fused = fusedPlace(wanted, spec.numExperts);
  const whole = fused && tensors.get(fused.name);
  if (whole) return partOf(checked(whole, fused.shape), fused.start, wanted.shape);
  throw new UserError(
    `${from}: tensor '${wanted.name}' is missing; the file belongs to another model or is incomplete.`,
  );
}

function checked(entry: TensorEntry, shape: readonly number[]): TensorEntry {
  if (entry.shape.join() === shape.join()) return entry;
  throw new UserError(
    `${entry.path}: tensor '${entry.name}' has shape [${entry.shape.join(', ')}], the configuration asks for [${shape.join(', ')}]; use the checkpoint's own configuration.`,
  );
}

interface FusedPlace {
  name: string;
  shape: number[];
  /** First element of the part. */
  start: number;
}

/** Where an expert's matrix lies when all experts of a layer are in one tensor; null for any other tensor. */
function fusedPlace({ name, shape: [rows, columns] }: TensorSpec, E: number): FusedPlace | null {
  const match = /^(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight$/.exec(name);
  if (!match) return null;
  const [, at, expert, projection] = match;
  const size = rows * columns;
  if (projection === 'down')
    return { name: `${at}.down_proj`, shape: [E, rows, columns], start: Number(expert) * size };
  const half = projection === 'gate' ? 0 : 1;
  return { name: `${at}.gate_up_proj`, shape: [E, 2 * rows, columns], start: (2 * Number(expert) + half) * size };
}

/** How many elements of each tensor are compared at a time. */
const STRIDE = 2 ** 22;

/** @throws UserError where the stored head of a tied model is not the embedding: the file contradicts its config.json */
export function checkTiedHead({ tensors, tiedHead }: Located, from: string): void {
  if (!tiedHead) return;
  const table = tensors.get('model.embed_tokens.weight')!;
  checked(tiedHead, table.shape);
  const count = table.shape[0] * table.shape[1];
  for (let at = 0; at < count; at += STRIDE) {
    const size = [Math.min(STRIDE, count - at)];
    if (Buffer.compare(readBytes(partOf(table, at, size)), readBytes(partOf(tiedHead, at, size))) === 0) continue;
    throw new UserError(
      `${from}: '${HEAD}' differs from the embedding, although tie_word_embeddings is true; set that to false in config.json to use it.`,
    );
  }
}
