// What a tokenizer alone does to a language, to be printed beside every result by language: fertility (counted tokens per item,
// comparable where items are parallel) and the share of its tokens whose id another language uses too.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { Collector, DocumentBlock } from './block.ts';

export interface TokenUse {
  /** Per language: counted tokens, and the items and documents that hold them. */
  tokens: Float64Array;
  items: number[];
  documents: Float64Array;
  /** Per language the counted tokens of each id. */
  uses: Map<number, number>[];
}

export function tokenUse(header: TraceHeader): Collector<TokenUse> {
  const n = header.languages.length;
  const items = header.languages.map(() => new Set<string>());
  const sums = { tokens: new Float64Array(n), documents: new Float64Array(n) };
  const uses = header.languages.map(() => new Map<number, number>());
  return {
    add({ token, counted, language, document }: DocumentBlock) {
      let any = 0;
      for (let t = 0; t < token.length; t++) {
        if (counted[t] === 0) continue;
        any++;
        uses[language].set(token[t], (uses[language].get(token[t]) ?? 0) + 1);
      }
      if (any === 0) return;
      sums.tokens[language] += any;
      sums.documents[language]++;
      items[language].add(header.documents[document].item);
    },
    finish: () => ({ ...sums, items: items.map(set => set.size), uses }),
  };
}

/** One row per language: group, script, documents, items, tokens, fertility, sharedTokens (0…1); the last two null without tokens. */
export function fertility({ tokens, items, documents, uses }: TokenUse, header: TraceHeader): ColumnTable {
  const users = new Map<number, number>();
  for (const ofLanguage of uses) for (const id of ofLanguage.keys()) users.set(id, (users.get(id) ?? 0) + 1);
  const rows = header.languages.map(({ code, script }, l) => {
    let shared = 0;
    for (const [id, count] of uses[l]) if (users.get(id)! > 1) shared += count;
    return {
      ...{ group: code, script, documents: documents[l], items: items[l], tokens: tokens[l] },
      fertility: items[l] > 0 ? tokens[l] / items[l] : null,
      sharedTokens: tokens[l] > 0 ? shared / tokens[l] : null,
    };
  });
  const names = ['group', 'script', 'documents', 'items', 'tokens', 'fertility', 'sharedTokens'] as const;
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}
