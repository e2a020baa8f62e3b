// Parallel strings (interface texts, names) → documents. Strings are grouped by key, some neighbours to a document, because
// one label of 25 letters is too short to learn from; the groups are made from the English keys alone, so a group is the
// same item in every language and is held out in all of them at once.
import { itemSplit } from '../split.ts';
import { isText } from '../text.ts';
import type { Document, Domain, Language } from '../types.ts';

/** Key → clean string. */
export type Strings = Map<string, string>;

export interface StringGroup {
  /** `<source>/<first key>`. */
  item: string;
  keys: string[];
}

/** Groups of at most `size` neighbouring keys of one kind, from the English strings that are text. */
export function groupKeys(
  source: string,
  english: Strings,
  size: number,
  kindOf = (_key: string) => '',
): StringGroup[] {
  const keys = [...english.keys()].filter(key => isText(english.get(key)!)).sort(byCodeUnit);
  const groups: StringGroup[] = [];
  for (const key of keys) {
    const last = groups.at(-1)?.keys;
    if (last === undefined || last.length === size || kindOf(last[0]) !== kindOf(key)) {
      groups.push({ item: `${source}/${key}`, keys: [key] });
    } else last.push(key);
  }
  return groups;
}

/** Documents of one language: per group, one line per string. Strings equal to the English one under the same key, strings
 *  already seen in this language and strings without text are left out; a group left empty gives no document. */
export function stringDocuments(
  source: string,
  domain: Domain,
  language: Language,
  groups: StringGroup[],
  english: Strings,
  translated: Strings,
): Document[] {
  const seen = new Set<string>();
  const isEnglish = translated === english;
  return groups.flatMap(({ item, keys }) => {
    const lines: string[] = [];
    for (const key of keys) {
      const text = translated.get(key);
      if (text === undefined || seen.has(text) || !isText(text)) continue;
      if (!isEnglish && sameText(text, english.get(key)!)) continue;
      seen.add(text);
      lines.push(text);
    }
    if (lines.length === 0) return [];
    const id = `${item}/${language.code}`;
    const text = lines.join('\n');
    return { id, language: language.code, source, domain, split: itemSplit(item), item, text };
  });
}

/** Equal but for case, spaces and punctuation: an untranslated label whose only change is a capital is still English. */
const sameText = (a: string, b: string): boolean => bare(a) === bare(b);
const bare = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{M}\p{N}]/gu, '');
const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
