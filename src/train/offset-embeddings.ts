// A fresh embedding table whose rows share a direction: row_v ← row_v + length · u with u of length 1, the same for all v. Logits of
// a tied head then all move by length · u·h, which softmax does not see; what changes is what the layers read.
import type { HostTensor } from '../model/weights.ts';

/** Adds the shared vector in place; length 0 changes nothing and draws nothing. @param normal draws from N(0, 1) */
export function offsetEmbeddings(weights: Map<string, HostTensor>, length: number, normal: () => number): void {
  if (length === 0) return;
  const { shape, values } = weights.get('model.embed_tokens.weight')!;
  const D = shape[1];
  const direction_D = Float64Array.from({ length: D }, normal);
  const norm = Math.sqrt(direction_D.reduce((sum, value) => sum + value * value, 0));
  values.forEach((value, i) => {
    values[i] = value + (length * direction_D[i % D]) / norm;
  });
}
