// What was recorded of a model, or read from another program's files, compact, before it is written.
import type { CountRow, Trace, TraceHeader } from '../../routing/trace.ts';
import { documentCounts, languageCounts } from './count.ts';
import { allRows, type Slots } from './slots.ts';
import { type SoftmaxSums, softmaxMeans } from './softmax.ts';

export interface Recorded {
  header: TraceHeader;
  slots: Slots;
  /** Counts of earlier steps, and of what the slots cannot tell. */
  earlier: CountRow[];
  softmax: SoftmaxSums | null;
  /** Text of the token ids that occur. */
  vocabulary: Map<number, string> | null;
}

export const countRows = ({ header, slots, earlier }: Recorded): CountRow[] => [
  ...earlier,
  ...languageCounts(slots, header.languages.length),
];

/** All of it as plain rows: for traces that are small. */
export function toTrace(recorded: Recorded): Trace {
  const { header, slots, softmax, vocabulary } = recorded;
  const documents = slots.language.length;
  return {
    header,
    columns: allRows(slots),
    counts: countRows(recorded),
    documents: documentCounts(slots, 0, documents),
    ...(softmax && { softmax: softmaxMeans(softmax, slots, 0, documents) }),
    ...(vocabulary && { vocabulary }),
  };
}
