// Holds the counts of documents.parquet against the slots of trace.parquet: slots may be a sample, so counts may be higher, never lower.
import { join } from 'node:path';
import type { TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import type { DocumentBlock } from '../block.ts';
import type { DocumentCounts } from '../document-counts.ts';
import { AGAIN } from './header.ts';

/** A check for one block after another. Both sides must have been made with the same dropFirst. */
export function checkAgainst(
  counts: DocumentCounts,
  header: TraceHeader,
  directory: string,
): (block: DocumentBlock) => void {
  const { numExperts: E, expertsPerToken: k, moeLayers, documents } = header;
  const place = new Map(Array.from(counts.document, (document, d) => [document, d]));
  const path = join(directory, 'documents.parquet');
  return block => {
    const { expert, counted, document } = block;
    const d = place.get(document);
    for (let l = 0; l < moeLayers.length; l++) {
      const slots = new Float64Array(E);
      for (let t = 0; t < counted.length; t++) {
        if (counted[t] === 0) continue;
        const cell = (t * moeLayers.length + l) * k;
        for (let s = cell; s < cell + k; s++) if (expert[s] >= 0) slots[expert[s]]++;
      }
      const short = slots.findIndex((n, e) => n > (d === undefined ? 0 : counts.count[l][d * E + e]));
      if (short < 0) continue;
      const stated = d === undefined ? 0 : counts.count[l][d * E + short];
      throw new UserError(
        `${path} counts ${stated} slots of ${documents[document].id} at layer ${moeLayers[l]}, expert ${short}, ` +
          `trace.parquet has ${slots[short]}; ${AGAIN}.`,
      );
    }
  };
}
