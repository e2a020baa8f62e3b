// Exact counts of where tokens went, layer × language × expert, collected while a model runs.
// Padding and the end-of-text token never count: where they go says nothing about a language.
import type { CountRow } from '../../routing/trace.ts';
import type { Batch } from '../data/types.ts';
import type { ObservedRouting } from '../model/observed.ts';

export interface RoutingCounter {
  /** @param from token of the batch that the routing begins with */
  add(routing: ObservedRouting, batch: Batch, from?: number): void;
  /** By layer, language, expert; only pairs that occurred. */
  rows(step: number): CountRow[];
}

/** @param eosId end of text, which is also the padding id */
export function routingCounter(eosId: number): RoutingCounter {
  const cells = new Map<string, Omit<CountRow, 'step'>>();
  const cell = (layer: number, language: number, expert: number): Omit<CountRow, 'step'> => {
    const key = `${layer}/${language}/${expert}`;
    const found = cells.get(key) ?? { layer, language, expert, count: 0, gate: 0 };
    cells.set(key, found);
    return found;
  };
  return {
    add({ layer, expertId_TK, gate_TK, k }, batch, from = 0) {
      batch.language_BS.subarray(from, from + expertId_TK.length / k).forEach((language, t) => {
        if (language < 0 || batch.inputId_BS[from + t] === eosId) return;
        let mass = 0;
        for (let slot = t * k; slot < (t + 1) * k; slot++) mass += gate_TK[slot];
        for (let slot = t * k; slot < (t + 1) * k; slot++) {
          if (expertId_TK[slot] < 0) continue;
          const row = cell(layer, language, expertId_TK[slot]);
          row.count++;
          row.gate += mass > 0 ? gate_TK[slot] / mass : 0;
        }
      });
    },
    rows: step =>
      [...cells.values()]
        .sort((a, b) => a.layer - b.layer || a.language - b.language || a.expert - b.expert)
        .map(row => ({ step, ...row })),
  };
}
