// Looking at a model during a run: held-out loss with free routing and with language ids given, and where tokens went.
import type { RoutingMode } from '../../routing/types.ts';
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import type { TokenDocument } from '../data/types.ts';
import { type AggregatedLosses, aggregateLosses } from '../eval/aggregate.ts';
import { documentLosses, lossesByLanguage } from '../eval/evaluate.ts';
import { givenMode } from '../eval/modes.ts';
import { type RoutingCounter, routingCounter } from '../eval/routing-counter.ts';
import type { Model } from '../model/weights.ts';
import type { Prepared } from './prepare.ts';

export interface Look {
  /** No language ids: plain inference. */
  free: AggregatedLosses;
  /** Language ids given and obeyed; null for a dense model. */
  given: AggregatedLosses | null;
  /** Language mean of free minus given, nats per token: what the mismatch between training and inference costs. */
  gap: number | null;
  /** Where tokens went under plain routing. */
  counter: RoutingCounter;
}

/** @param sample held-out documents; the same at every look, so that looks compare */
export async function lookAt(
  model: Model,
  sample: TokenDocument[],
  config: Config,
  map: FamilyMap,
  prepared: Pick<Prepared, 'tokenizer' | 'bytes'>,
  withGiven = true,
): Promise<Look> {
  const sparse = model.spec.layers.includes('moe');
  const counter = routingCounter(prepared.tokenizer.eosId);
  const shape = {
    batch: config.train.batch_size,
    sequence: config.data.sequence_length,
    padId: prepared.tokenizer.eosId,
  };
  const losses = async (mode: RoutingMode): Promise<AggregatedLosses> => {
    const each = await documentLosses(model, sample, map.languages, {
      ...shape,
      mode,
      onRouting: mode === 'free' ? counter.add : undefined,
    });
    return aggregateLosses(lossesByLanguage(each, sample, map.languages, ({ id }) => prepared.bytes.get(id) ?? 0));
  };
  const free = await losses('free');
  const mode = givenMode(config.router);
  const given = sparse && withGiven && mode !== null ? await losses(mode) : null;
  return {
    free,
    given,
    gap: given && free.all.languageMean - given.all.languageMean,
    counter,
  };
}
