// Parallel items dealt over the blocks of a jackknife, for measures that keep sums per block and not per document. All documents
// of an item share a block, so that languages stay paired.
import type { TraceHeader } from '../routing/trace.ts';
import { jackknife } from './jackknife.ts';
import { criticalT } from './student.ts';

/** Blocks of a trace with enough items. */
export const BLOCKS = 20;

export interface ItemBlocks {
  blocks: number;
  /** Block of each document in the header. */
  of: Int32Array;
}

/** Items take turns in the order of the header; fewer blocks where there are fewer items. */
export function itemBlocks({ documents }: TraceHeader, most = BLOCKS): ItemBlocks {
  const numbers = new Map<string, number>();
  const item = Int32Array.from(documents, ({ item }) => {
    if (!numbers.has(item)) numbers.set(item, numbers.size);
    return numbers.get(item)!;
  });
  const blocks = Math.max(1, Math.min(most, numbers.size));
  return { blocks, of: item.map(number => number % blocks) };
}

export interface BlockEstimate {
  /** Corrected by the jackknife. */
  estimate: number;
  se: number | null;
  /** 95 % by Student's t over the blocks. */
  low: number | null;
  high: number | null;
}

/** What leaving out each block in turn says of a value; no interval from fewer than three blocks. */
export function blockEstimate(plugIn: number, without: ArrayLike<number>): BlockEstimate {
  const { estimate, se } = jackknife(plugIn, without);
  const replicates = Array.from(without).filter(Number.isFinite).length;
  if (se === null || replicates < 3) return { estimate: plugIn, se: null, low: null, high: null };
  const reach = critical(replicates - 1) * se;
  return { estimate, se, low: estimate - reach, high: estimate + reach };
}

const known = new Map<number, number>();
function critical(freedom: number): number {
  const value = known.get(freedom) ?? criticalT(0.05, freedom);
  known.set(freedom, value);
  return value;
}
