// In which order documents are read, without end: a pure function of the seed, so that the cursor is a few counts.
// `mixture`: the next document comes from the language furthest behind its share (stride scheduling), so every stretch of the
// stream, and so every batch, holds the languages in proportion. `fixed`: a given list, over and over (ApolloMoE's draw).
import seedrandom from 'seedrandom';
import type { TokenDocument } from './types.ts';

/** An endless sequence of document indices, and where it stands. */
export interface DocumentOrder {
  next(): number;
  state(): OrderState;
}
export interface OrderState {
  /** Tokens given out so far per language. Empty for a fixed order. */
  given: number[];
  /** Documents given out so far per language; for a fixed order, one count. */
  count: number[];
}

/** Documents by language share. Each language's documents come in a new seeded shuffle every epoch. */
export function mixtureOrder(
  documents: TokenDocument[],
  share_G: Float64Array,
  seed: string | number,
  from?: OrderState,
): DocumentOrder {
  const members = Array.from(share_G, (): number[] => []);
  for (const [index, document] of documents.entries()) members[document.language]?.push(index);
  const active = [...share_G.keys()].filter(g => share_G[g] > 0 && members[g].length > 0);
  if (active.length === 0) throw new Error('mixtureOrder needs a language with a share and a document');
  const start = seedrandom(`start/${seed}`);
  // A random head start of up to one document keeps languages of equal share from coming in the order of their ids.
  const head_G = members.map(list => start() * (documents[list[0]]?.ids.length ?? 0));
  const given = from ? [...from.given] : members.map(() => 0);
  const count = from ? [...from.count] : members.map(() => 0);
  const shuffles: { epoch: number; order: Int32Array }[] = [];

  const shuffled = (g: number, epoch: number): Int32Array => {
    if (shuffles[g]?.epoch !== epoch) shuffles[g] = { epoch, order: shuffle(members[g], `${seed}/${g}/${epoch}`) };
    return shuffles[g].order;
  };
  return {
    next() {
      let chosen = active[0];
      let least = Number.POSITIVE_INFINITY;
      for (const g of active) {
        const progress = (head_G[g] + given[g]) / share_G[g];
        if (progress < least) [chosen, least] = [g, progress];
      }
      const size = members[chosen].length;
      const index = shuffled(chosen, Math.floor(count[chosen] / size))[count[chosen] % size];
      count[chosen]++;
      given[chosen] += documents[index].ids.length;
      return index;
    },
    state: () => ({ given: [...given], count: [...count] }),
  };
}

/** A fixed list of document indices, started again at its end. */
export function fixedOrder(list: ArrayLike<number>, from?: OrderState): DocumentOrder {
  if (list.length === 0) throw new Error('fixedOrder needs at least one document');
  let count = from?.count[0] ?? 0;
  return {
    next: () => list[count++ % list.length],
    state: () => ({ given: [], count: [count] }),
  };
}

/** Fisher and Yates, from a seed. */
function shuffle(list: number[], seed: string): Int32Array {
  const random = seedrandom(`shuffle/${seed}`);
  const order = Int32Array.from(list);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
