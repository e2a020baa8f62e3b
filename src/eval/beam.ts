// Beam search: the B most probable continuations are followed side by side, one forward pass of B tokens a step. A text of
// n tokens, its end included, scores (Σ log p) / n^length penalty. The rules are those of the transformers library 5.
// Shapes: B beams, V vocabulary.
import { createCache, type KvCache } from '../model/kv-cache.ts';
import type { Model } from '../model/weights.ts';
import { nextLogits, type RoutingChoice } from './next-logits.ts';

export interface BeamOptions extends RoutingChoice {
  beams: number;
  maxTokens: number;
  /** Exponent of the length that scores are divided by: above 0 longer texts gain, at 0 sums are compared. */
  lengthPenalty: number;
  /** Ids that end a text; a model may have several. */
  eosIds: readonly number[];
  /** Stop as soon as `beams` texts have ended. Else, as the library does by default, once the best open text, were it to
   *  end now, would not score above the worst of the `beams` best that have ended. */
  earlyStopping: boolean;
}

export interface BeamText {
  /** Without the token that ended it. */
  ids: number[];
  score: number;
}

/** An open text. `logProbability` is the sum over its tokens, `from` the row of the cache that it continues. */
interface Beam {
  ids: number[];
  logProbability: number;
  from: number;
}

/** What a beam may go on with. */
interface Candidate {
  beam: number;
  id: number;
  logProbability: number;
}

/**
 * Up to `beams` texts, the best first; of equals what ended earlier, then the earlier beam, then the lower id. The same
 * input gives the same texts. One beam is greedy search: what is open beside a text that ends can score no more than it.
 * @throws RangeError for a prompt that is empty or longer than max_position_embeddings, or fewer than one beam
 */
export async function beamSearch(model: Model, prompt: Int32Array, options: BeamOptions): Promise<BeamText[]> {
  const { num_hidden_layers: layers, max_position_embeddings: positions } = model.spec;
  if (prompt.length < 1 || prompt.length > positions)
    throw new RangeError(`a prompt has at least one and at most ${positions} tokens, not ${prompt.length}`);
  if (!(options.beams >= 1)) throw new RangeError(`beam search needs at least one beam, not ${options.beams}`);
  const limit = Math.min(options.maxTokens, positions - prompt.length + 1);
  const cache = createCache(layers);
  let open: Beam[] = [{ ids: [], logProbability: 0, from: 0 }];
  let ended: BeamText[] = [];
  try {
    for (let made = 1; made <= limit; made++) {
      const logits_BV = await continued(model, prompt, open, cache, options);
      const candidates = bestOf(logits_BV, open, options);
      const closes = ({ id }: Candidate): boolean => made === limit || options.eosIds.includes(id);
      const closed = candidates.slice(0, options.beams).filter(closes);
      ended = merged(
        ended,
        closed.map(one => endedText(one, open, made, options)),
        options.beams,
      );
      open = candidates
        .filter(one => !closes(one))
        .slice(0, options.beams)
        .map(({ beam, id, logProbability }) => ({ ids: [...open[beam].ids, id], logProbability, from: beam }));
      if (open.length === 0 || settled(ended, open, made, options)) break;
    }
  } finally {
    cache.dispose();
  }
  return ended;
}

/** Runs the prompt once, later one token of each open beam, whose caches are put in the order of the beams before. */
function continued(model: Model, prompt: Int32Array, open: Beam[], cache: KvCache, options: BeamOptions) {
  const { length } = open[0].ids;
  if (length === 0) return nextLogits(model, prompt, 1, 0, cache, options);
  cache.select(Int32Array.from(open, beam => beam.from));
  const last_B = Int32Array.from(open, ({ ids }) => ids[length - 1]);
  return nextLogits(model, last_B, open.length, prompt.length + length - 1, cache, options);
}

/** So many of the most probable that `beams` stay open even if each beam may end in all its ways. */
function bestOf(logits_BV: Float32Array, open: Beam[], { beams, eosIds }: BeamOptions): Candidate[] {
  const count = Math.max(2, 1 + eosIds.length) * beams;
  const V = logits_BV.length / open.length;
  const all = open.flatMap(({ logProbability }, beam) => {
    const logits_V = logits_BV.subarray(beam * V, (beam + 1) * V);
    const base = logProbability - logSumExp(logits_V);
    return largest(logits_V, count).map(id => ({ beam, id, logProbability: base + logits_V[id] }));
  });
  return all.sort((a, b) => b.logProbability - a.logProbability).slice(0, count);
}

function logSumExp(logits_V: Float32Array): number {
  const most = logits_V.reduce((a, b) => Math.max(a, b));
  return most + Math.log(logits_V.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
}

/** Ids of the `count` largest, falling, the lower id first on a tie. */
function largest(logits_V: Float32Array, count: number): number[] {
  const kept: number[] = [];
  for (let id = 0; id < logits_V.length; id++) {
    if (kept.length === count && !(logits_V[id] > logits_V[kept[count - 1]])) continue;
    let at = kept.length;
    while (at > 0 && logits_V[id] > logits_V[kept[at - 1]]) at--;
    kept.splice(at, 0, id);
    if (kept.length > count) kept.pop();
  }
  return kept;
}

function endedText(
  { beam, id, logProbability }: Candidate,
  open: Beam[],
  made: number,
  options: BeamOptions,
): BeamText {
  const ids = options.eosIds.includes(id) ? open[beam].ids : [...open[beam].ids, id];
  return { ids, score: logProbability / made ** options.lengthPenalty };
}

/** The sort is stable: of equals, what ended earlier stays before. */
const merged = (before: BeamText[], added: BeamText[], count: number): BeamText[] =>
  [...before, ...added].sort((a, b) => b.score - a.score).slice(0, count);

function settled(ended: BeamText[], open: Beam[], made: number, options: BeamOptions): boolean {
  const { beams, earlyStopping, lengthPenalty } = options;
  if (ended.length < beams) return false;
  if (earlyStopping) return true;
  return open[0].logProbability / made ** lengthPenalty <= ended[beams - 1].score;
}
