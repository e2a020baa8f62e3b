// The 50 languages of configs/families/apollo.yaml and small stand-ins for documents, for the tests of this folder.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Document, Language, TokenDocument } from '../../src/data/types.ts';

interface FamiliesFile {
  families: { name: string; expert: number; languages: { code: string; name: string; script: string }[] }[];
}

export function fiftyLanguages(): Language[] {
  const path = new URL('../../configs/families/apollo.yaml', import.meta.url);
  const { families }: FamiliesFile = parse(readFileSync(path, 'utf8'));
  return families
    .flatMap(({ name, expert, languages }) => languages.map(each => ({ ...each, family: name, expert })))
    .map((each, index) => ({ ...each, index }));
}

export const language = (code: string, script = 'Latn', index = 0): Language => ({
  ...{ index, code, name: `Language ${code}`, script, family: 'f', expert: 0 },
});

export const document = (code: string, item: string, text: string, more: Partial<Document> = {}): Document => ({
  ...{ id: `${item}/${code}`, language: code, source: item.split('/')[0], domain: 'general', split: 'train' },
  ...{ item, text },
  ...more,
});

/** Token documents with the given ids; every id is unique over the list so that tests can follow each token. */
export function tokenDocuments(lengths: number[], languageOf: (i: number) => number = () => 0): TokenDocument[] {
  let next = 1;
  return lengths.map((length, index) => ({
    ...{
      id: `d/${index}`,
      language: languageOf(index),
      index,
      domain: 'general' as const,
      source: 'd',
      item: `d/${index}`,
    },
    ids: Int32Array.from({ length }, () => next++),
  }));
}
