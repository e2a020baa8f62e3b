// A model that is run without being in memory: what evaluation may be given in place of a Model.
import type { Batch } from '../data/types.ts';
import type { ModelSpec } from '../model/spec.ts';
import { tokenInput } from '../model/token-input.ts';
import { type StreamedBatch, type StreamOptions, streamedForward } from './forward.ts';
import { describePlan, planStream } from './plan.ts';
import type { StoredModel } from './source.ts';

export interface StreamedModel {
  spec: ModelSpec;
  stored: StoredModel;
  /** Bytes that a pass may hold; null: whole layers and all activations. */
  budget: number | null;
  /** Folder for activations that do not fit into memory. */
  temporary: string;
  /** Is told, in one line, what each pass holds. */
  announce: (line: string) => void;
}

/** Plans a pass over all batches and runs it. @param keptPerSlot bytes that the caller keeps of each routed slot
 *  @throws UserError when the budget is too little */
export function streamed(
  model: StreamedModel,
  batches: readonly Batch[],
  options: Omit<StreamOptions, 'plan' | 'temporary'>,
  keptPerSlot = 0,
): Promise<StreamedBatch[]> {
  const { stored, budget, temporary, spec } = model;
  const slots = spec.num_experts_per_tok * spec.layers.filter(kind => kind === 'moe').length;
  const recordBytes = options.onRouting ? slots * keptPerSlot : 0;
  const inputs = batches.map(batch => tokenInput(batch, options.expertOfLanguage));
  const plan = planStream(stored, inputs, budget, recordBytes);
  model.announce(describePlan(plan, stored));
  return streamedForward(stored, batches, { ...options, plan, temporary });
}
