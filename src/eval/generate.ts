// Continues a text token by token with a KV cache: greedy, or sampled by temperature and nucleus (top-p, Holtzman et al. 2020).
// Deterministic: the same checkpoint, prompt, settings and seed give the same tokens.
import type { RoutingMode } from '../../routing/types.ts';
import { tf } from '../engine/tf.ts';
import { createCache } from '../model/kv-cache.ts';
import type { TokenInput } from '../model/token-input.ts';
import { forward } from '../model/transformer.ts';
import type { Model } from '../model/weights.ts';

export interface GenerateOptions {
  maxTokens: number;
  /** 0 is greedy: the most probable token, the lowest id on a tie. */
  temperature: number;
  /** Sample among the fewest tokens whose probabilities sum to topP. */
  topP: number;
  /** Ids that end the text; a model may have several. */
  eosIds: readonly number[];
  mode: RoutingMode;
  /** Expert of the text's language, for modes that use it. */
  languageExpert: number | null;
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
      const logits_V = await lastLogits(model, next, seen, cache, options);
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

async function lastLogits(
  model: Model,
  ids: Int32Array,
  position: number,
  cache: ReturnType<typeof createCache>,
  { mode, languageExpert }: GenerateOptions,
): Promise<Float32Array> {
  const S = ids.length;
  const tokens: TokenInput = {
    batch: 1,
    sequence: S,
    id_T: ids,
    position_T: Int32Array.from({ length: S }, (_, i) => position + i),
    segment_T: new Int32Array(S),
    languageExpert_T: languageExpert === null ? null : new Int32Array(S).fill(languageExpert),
    counted_T: new Uint8Array(S).fill(1),
  };
  const last_1V = tf.tidy(() => forward(model, tokens, { mode, cache }).logits_TV.slice([S - 1, 0], [1, -1]));
  try {
    return await last_1V.data<'float32'>();
  } finally {
    last_1V.dispose();
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
