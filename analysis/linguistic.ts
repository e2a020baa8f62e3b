// What languages have in common apart from routing: their place in a tree of families, their script, their tokens. Each is a
// distance in 0…1 between every two languages of the header. A tree gives path length over the longest path there could be:
// (steps from a up to the common ancestor + steps from there down to b) / (depth of a + depth of b); the root joins all.
// Shapes: [n · n] over header.languages.

import type { TraceHeader } from '../routing/trace.ts';
import { UserError } from '../src/errors.ts';
import type { Collector, DocumentBlock } from './block.ts';

/** Family names by header language; from `map` (code → family) if given. Throws UserError for a language not in the map. */
export function familyLabels(header: TraceHeader, map?: ReadonlyMap<string, string>): string[] {
  return header.languages.map(({ code, family }) => {
    const name = map ? map.get(code) : family;
    if (name !== undefined) return name;
    throw new UserError(`Language ${code} of the trace is in no family of the map; add it to the families file.`);
  });
}

/**
 * Distance in the tree. `lineages` gives the ancestors of each language, oldest first (['Indo-European', 'Germanic']); without
 * it the families alone: 0 the same language, 1/2 the same family, 1 different families.
 */
export function treeDistances(header: TraceHeader, lineages?: readonly (readonly string[])[]): Float64Array {
  const paths = header.languages.map(({ code, family }, l) => [...(lineages?.[l] ?? [family]), `language ${code}`]);
  return between(paths, (a, b) => {
    let shared = 0;
    while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++;
    return (a.length + b.length - 2 * shared) / (a.length + b.length);
  });
}

/** 0 for the same script (ISO 15924 code), 1 for different ones. */
export function scriptDistances(header: TraceHeader): Float64Array {
  return between(
    header.languages.map(({ script }) => script),
    (a, b) => (a === b ? 0 : 1),
  );
}

/** 1 − |A ∩ B| / |A ∪ B| of the sets of token ids that each language uses; NaN where a set is empty. */
export function vocabularyDistances(vocabularies: readonly ReadonlySet<number>[]): Float64Array {
  return between(vocabularies, (a, b) => {
    if (a.size === 0 || b.size === 0) return Number.NaN;
    let both = 0;
    for (const token of a) if (b.has(token)) both++;
    return 1 - both / (a.size + b.size - both);
  });
}

/** Collects the counted token ids of each language. */
export function vocabularySets(header: TraceHeader): Collector<Set<number>[]> {
  const sets = header.languages.map(() => new Set<number>());
  return {
    add({ language, token, counted }: DocumentBlock) {
      for (let t = 0; t < token.length; t++) if (counted[t] === 1) sets[language].add(token[t]);
    },
    finish: () => sets,
  };
}

function between<Item>(items: readonly Item[], distance: (a: Item, b: Item) => number): Float64Array {
  const n = items.length;
  return Float64Array.from({ length: n * n }, (_, cell) => {
    const [i, j] = [Math.floor(cell / n), cell % n];
    return i === j ? 0 : distance(items[i], items[j]);
  });
}
