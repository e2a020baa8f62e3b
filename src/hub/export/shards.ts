// Dividing a checkpoint into files as the transformers library does: tensors in order, a new file before one would pass the
// limit (a larger tensor has a file alone), and an index that says which file holds what.
import { type TensorShape, tensorBytes } from '../safetensors.ts';
import { pythonJson } from './python-json.ts';

export interface Shard<T extends TensorShape> {
  file: string;
  tensors: T[];
}

/** @param mostBytes of tensors in one file. One file alone is called model.safetensors */
export function divideIntoShards<T extends TensorShape>(tensors: readonly T[], mostBytes: number): Shard<T>[] {
  const parts: T[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (filled > 0 && filled + bytes > mostBytes) {
      parts.push([]);
      filled = 0;
    }
    parts.at(-1)!.push(tensor);
    filled += bytes;
  }
  const five = (number: number): string => String(number).padStart(5, '0');
  const nameOf = (i: number): string => `model-${five(i + 1)}-of-${five(parts.length)}.safetensors`;
  return parts.map((part, i) => ({ file: parts.length === 1 ? 'model.safetensors' : nameOf(i), tensors: part }));
}

/** The text of model.safetensors.index.json: names sorted, total_size the bytes of all tensors. */
export function indexJson(shards: readonly Shard<TensorShape>[]): string {
  const entries = shards.flatMap(({ file, tensors }) => tensors.map(({ name }): [string, string] => [name, file]));
  const total = shards.flatMap(({ tensors }) => tensors).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  return pythonJson({ metadata: { total_size: total }, weight_map: Object.fromEntries(entries) });
}
