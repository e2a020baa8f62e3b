// One pass over the slots of a trace for all measures that need tokens: flow, co-activation, locality, vocabulary, and what
// stands beside every language result (fertility, tokens shared between languages).
import type { TraceHeader } from '../../routing/trace.ts';
import type { DocumentBlock } from '../block.ts';
import { type CoactivationSums, coactivationCollector } from '../coactivation.ts';
import { collect } from '../collect.ts';
import { exampleCollector } from '../example-documents.ts';
import { type TokenUse, tokenUse } from '../fertility.ts';
import { pickLayers } from '../figures/caption.ts';
import { type FlowSums, flowCollector, neighbours } from '../flow.ts';
import { type LocalitySums, localityCollector } from '../locality.ts';
import { type TokenLog, tokenLog } from '../token-log.ts';

export interface TokenSums {
  flow: FlowSums;
  coactivation: CoactivationSums;
  locality: LocalitySums;
  use: TokenUse;
  log: TokenLog;
  /** One document of each language to look at. */
  examples: Map<number, DocumentBlock>;
}

/** Layers in the flow picture at most; flows between drawn layers are counted, never multiplied. */
export const MOST_FLOW_LAYERS = 6;

export function tokenSums(
  blocks: AsyncIterable<DocumentBlock> | Iterable<DocumentBlock>,
  header: TraceHeader,
): Promise<TokenSums> {
  return collect(blocks, {
    flow: flowCollector(header, { pairs: pairsOf(header) }),
    coactivation: coactivationCollector(header),
    locality: localityCollector(header),
    use: tokenUse(header),
    log: tokenLog(header),
    examples: exampleCollector(header),
  });
}

/** Neighbouring MoE layers, and neighbours among those that are drawn. */
function pairsOf({ moeLayers }: TraceHeader): [number, number][] {
  const all = neighbours(moeLayers);
  const drawn = neighbours(pickLayers(moeLayers, MOST_FLOW_LAYERS));
  const known = new Set(all.map(String));
  return [...all, ...drawn.filter(pair => !known.has(String(pair)))];
}
