// Continues a text token by token with a KV cache: greedy, or sampled by temperature and nucleus (top-p, Holtzman et al. 2020).
// Deterministic: the same checkpoint, prompt, settings and seed give the same tokens.
import { createCache } from '../model/kv-cache.ts';
import type { Model } from '../model/weights.ts';
import { nextLogits, type RoutingChoice } from './next-logits.ts';

export interface GenerateOptions extends RoutingChoice {
  maxTokens: number;
  /** 0 is greedy: the most probable token, the lowest id on a tie. */
  temperature: number;
  /** Sample among the fewest tokens whose probabilities sum to topP. */
  topP: number;
  /** Ids that end the text; a model may have several. */
  eosIds: readonly number[];
  /** Uniform in [0, 1). */
  random: () => number;
}

/**
 * Yields one token id after the other, up to maxTokens, the last position or the end of text (not yielded).
 * @throws RangeError for a prompt that is empty or longer than max_position_embeddings
 */
export async function* generate(model: Model, prompt: Int32Array, options: GenerateOptions): AsyncGenerator<number> {
  const { num_hidden_layers: layers, max_position_embeddings: positions } = model.spec;
  if (prompt.length < 1 || prompt.length > positions)
    throw new RangeError(`a prompt has at least one and at most ${positions} tokens, not ${prompt.length}`);
  const cache = createCache(layers);
  try {
    let next: Int32Array = prompt;
    let seen = 0;
    for (let made = 0; made < options.maxTokens && seen + next.length <= positions; made++) {
      const logits_V = await nextLogits(model, next, 1, seen, cache, options);
      seen += next.length;
      const id = choose(logits_V, options);
      if (options.eosIds.includes(id)) return;
      yield id;
      next = Int32Array.of(id);
    }
  } finally {
    cache.dispose();
  }
}

function choose(logits_V: Float32Array, { temperature, topP, random }: GenerateOptions): number {
  if (temperature === 0) return logits_V.reduce((best, logit, id) => (logit > logits_V[best] ? id : best), 0);
  const largest = logits_V.reduce((a, b) => Math.max(a, b));
  const weights = Array.from(logits_V, (logit, id) => ({ id, weight: Math.exp((logit - largest) / temperature) }));
  weights.sort((a, b) => b.weight - a.weight || a.id - b.id);
  const total = weights.reduce((sum, { weight }) => sum + weight, 0);
  const nucleus: typeof weights = [];
  let mass = 0;
  for (const entry of weights) {
    nucleus.push(entry);
    mass += entry.weight;
    if (mass >= topP * total) break;
  }
  let left = random() * mass;
  for (const { id, weight } of nucleus) {
    left -= weight;
    if (left < 0) return id;
  }
  return nucleus[nucleus.length - 1].id;
}
