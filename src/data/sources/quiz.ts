// Interface strings of a quiz editor, package `@instructure/quiz-translations`: general, 16 of the 50 languages, about 1,400
// keys, JSON { key: { message } } in ICU message syntax with <0>…</0> tags.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { factsOf } from '../language-facts.ts';
import { cleanText } from '../text.ts';
import type { Document, Language } from '../types.ts';
import { packageFolder } from './package.ts';
import { groupKeys, type Strings, stringDocuments } from './strings.ts';

/** A reader that holds the English strings, which every language is compared with. */
export function openQuiz(): (language: Language) => Document[] {
  const folder = join(packageFolder('@instructure/quiz-translations'), 'lib');
  const english = readLocale(folder, 'en');
  const groups = groupKeys('quiz', english, 16);
  return language => {
    const name = factsOf(language).quiz;
    if (name === undefined) return [];
    const translated = name === 'en' ? english : readLocale(folder, name);
    return stringDocuments('quiz', 'general', language, groups, english, translated);
  };
}

function readLocale(folder: string, name: string): Strings {
  const raw: Record<string, { message: string }> = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  return new Map(
    Object.entries(raw).map(([key, { message }]) => [key, cleanText(plainMessage(message)).replaceAll('\n', ' ')]),
  );
}

/** ICU message → words: of `{n, plural, one {…} other {…}}` the `other` branch, of `{n, number}` the bare `{n}`. The English
 *  keywords of the syntax would otherwise be learnt as words of every language. */
export function plainMessage(message: string): string {
  let out = '';
  for (let at = 0; at < message.length; at++) {
    if (message[at] !== '{') {
      out += message[at];
      continue;
    }
    const end = closingBrace(message, at);
    if (end < 0) return out + message.slice(at);
    out += plainArgument(message.slice(at + 1, end));
    at = end;
  }
  return out;
}

function plainArgument(argument: string): string {
  const name = `{${/^\s*([\w.-]*)/.exec(argument)![1]}}`;
  if (!/^[^,{]*,\s*(?:plural|select|selectordinal)\b/.test(argument)) return name;
  const branch = /\bother\s*\{/.exec(argument);
  if (branch === null) return name;
  const open = branch.index + branch[0].length - 1;
  const close = closingBrace(argument, open);
  return close < 0 ? name : plainMessage(argument.slice(open + 1, close));
}

function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === '{') depth++;
    else if (text[at] === '}' && --depth === 0) return at;
  }
  return -1;
}
