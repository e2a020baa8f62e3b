// Interface and clinical strings of a home-care product, package `@health.espresso/translations`: medical, 12 languages,
// about 5,500 keys, flat JSON { key: string }. Translated by machine and then edited, as its style shows.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { factsOf } from '../language-facts.ts';
import { cleanText } from '../text.ts';
import type { Document, Language } from '../types.ts';
import { packageFolder } from './package.ts';
import { groupKeys, type Strings, stringDocuments } from './strings.ts';

/** A reader that holds the English strings, which every language is compared with. */
export function openHealthEspresso(): (language: Language) => Document[] {
  const folder = join(packageFolder('@health.espresso/translations'), 'dist', '__locales');
  const english = readLocale(folder, 'en');
  const groups = groupKeys('health-espresso', english, 16);
  return language => {
    const name = factsOf(language).health;
    if (name === undefined) return [];
    const translated = name === 'en' ? english : readLocale(folder, name);
    return stringDocuments('health-espresso', 'medical', language, groups, english, translated);
  };
}

function readLocale(folder: string, name: string): Strings {
  const raw: Record<string, string> = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  return new Map(Object.entries(raw).map(([key, text]) => [key, cleanText(text).replaceAll('\n', ' ')]));
}
