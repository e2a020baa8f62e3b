// What there is to learn from, per language: documents, bytes, tokens, share medical, per source and split.
import { zeroTextLanguages } from './corpus.ts';
import { byteLength } from './text.ts';
import { fertility } from './tokenizer/fertility.ts';
import type { Document, Language, Split, Tokenizer } from './types.ts';

export interface LanguageStats {
  code: string;
  name: string;
  family: string;
  script: string;
  /** No running text: nothing, or only the words of `intl`. */
  zeroText: boolean;
  documents: number;
  bytes: number;
  /** Share of the bytes that is medical, 0 to 1; 0 without text. */
  medical: number;
  bytesBySource: Record<string, number>;
  documentsBySplit: Record<Split, number>;
  bytesBySplit: Record<Split, number>;
  /** Tokens of all text without EOS; null without a tokenizer. */
  tokens: number | null;
  bytesPerToken: number | null;
  /** Tokens for what English says in one token (tokenizer/fertility.ts): over the items of the most widely shared source
   *  (UDHR) that both have. Null without a tokenizer or common items. */
  tax: number | null;
}

/** One row per language, in the order given. The tokenizer is optional: without it the token columns are null. */
export function corpusStats(documents: Document[], languages: Language[], tokenizer?: Tokenizer): LanguageStats[] {
  const zero = zeroTextLanguages(documents, languages);
  const tokens = new Map(tokenizer && documents.map(document => [document, tokenizer.encode(document.text).length]));
  const byLanguage = new Map(languages.map(({ code }): [string, Document[]] => [code, []]));
  for (const document of documents) byLanguage.get(document.language)?.push(document);
  const shared = mostSharedSource(documents);
  const parallel = tokenizer
    ? fertility(
        tokenizer,
        documents.filter(({ source }) => source === shared),
      )
    : [];
  const taxes = new Map(parallel.map(({ language, tax }) => [language, tax]));
  return languages.map(({ code, name, family, script }) => {
    const own = byLanguage.get(code)!;
    const bytes = sum(own, document => byteLength(document.text));
    const tokenCount = tokenizer ? sum(own, document => tokens.get(document)!) : null;
    return {
      ...{ code, name, family, script, zeroText: zero.has(code), documents: own.length, bytes },
      medical: bytes === 0 ? 0 : sum(own, d => (d.domain === 'medical' ? byteLength(d.text) : 0)) / bytes,
      bytesBySource: totals(own, document => document.source, {}),
      documentsBySplit: splitTotals(own, () => 1),
      bytesBySplit: splitTotals(own, document => byteLength(document.text)),
      tokens: tokenCount,
      bytesPerToken: tokenCount ? bytes / tokenCount : null,
      tax: finiteOrNull(taxes.get(code)),
    };
  });
}

/** The table that `moe data stats` prints, as plain columns of text: kB per source, splits, medical share, tokens. */
export function statsTable(rows: LanguageStats[]): string[][] {
  const sources = [...new Set(rows.flatMap(row => Object.keys(row.bytesBySource)))];
  const kB = (bytes: number | undefined) => (bytes ? (bytes / 1000).toFixed(1) : '–');
  const head = ['code', 'language', 'family', ...sources, 'kB', 'train', 'validation', 'test', 'medical', 'documents'];
  const body = rows.map(row => [
    ...[row.code, row.zeroText ? `${row.name} (zero-text)` : row.name, row.family],
    ...sources.map(source => kB(row.bytesBySource[source])),
    ...[kB(row.bytes), kB(row.bytesBySplit.train), kB(row.bytesBySplit.validation), kB(row.bytesBySplit.test)],
    ...[`${Math.round(100 * row.medical)} %`, String(row.documents)],
    ...[row.tokens?.toString() ?? '–', row.tax?.toFixed(2) ?? '–'],
  ]);
  return [[...head, 'tokens', 'tax'], ...body];
}

const finiteOrNull = (value = Number.NaN): number | null => (Number.isFinite(value) ? value : null);

/** The source with running text in the most languages, the first one on a tie. */
function mostSharedSource(documents: Document[]): string {
  const languages = new Map<string, Set<string>>();
  for (const { source, language } of documents) {
    if (source === 'intl') continue;
    languages.set(source, (languages.get(source) ?? new Set()).add(language));
  }
  let best = '';
  for (const [source, set] of languages) if (set.size > (languages.get(best)?.size ?? 0)) best = source;
  return best;
}

const sum = (list: Document[], value: (document: Document) => number): number =>
  list.reduce((total, document) => total + value(document), 0);

function totals(
  list: Document[],
  key: (document: Document) => string,
  start: Record<string, number>,
  value = (document: Document) => byteLength(document.text),
): Record<string, number> {
  const out = { ...start };
  for (const document of list) out[key(document)] = (out[key(document)] ?? 0) + value(document);
  return out;
}

const splitTotals = (list: Document[], value: (document: Document) => number): Record<Split, number> =>
  totals(list, document => document.split, { train: 0, validation: 0, test: 0 }, value) as Record<Split, number>;
