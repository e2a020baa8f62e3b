// Words from Node's own ICU data, through `Intl`: names of places, languages and currencies, dates, spans of time, measures.
// Words, not sentences: the only text here for Dogri and Sorani. It changes with Node, so the manifest records the ICU version.
import { factsOf } from '../language-facts.ts';
import { cleanText } from '../text.ts';
import type { Document, Language } from '../types.ts';
import { groupKeys, type Strings, stringDocuments } from './strings.ts';

const letters = [...'abcdefghijklmnopqrstuvwxyz'];
const pairs = letters.flatMap(a => letters.map(b => a + b));
const NAMES: [kind: Intl.DisplayNamesType, codes: () => string[]][] = [
  ['region', () => pairs.map(pair => pair.toUpperCase())],
  ['language', () => pairs],
  [
    'script',
    () => ['Arab', 'Armn', 'Beng', 'Cyrl', 'Deva', 'Ethi', 'Grek', 'Hang', 'Hans', 'Hebr', 'Jpan', 'Latn', 'Thai'],
  ],
  ['currency', () => Intl.supportedValuesOf('currency')],
];
const SPANS: Intl.RelativeTimeFormatUnit[] = ['second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year'];
const OFFSETS = [-12, -5, -2, -1, 0, 1, 2, 3, 7, 20];
const UNITS = [
  ...['celsius', 'kilogram', 'gram', 'liter', 'milliliter', 'meter', 'centimeter', 'kilometer', 'percent', 'degree'],
  ...['second', 'minute', 'hour', 'day', 'week', 'month', 'year', 'byte', 'kilometer-per-hour'],
];
const AMOUNTS = [1, 2, 5, 38.5, 120];

/** A reader that holds the English words, which every language is compared with. */
export function openIntl(): (language: Language) => Document[] {
  const english = words('en');
  const groups = groupKeys('intl', english, 8, key => key.slice(0, key.indexOf('/')));
  return language => {
    const locale = factsOf(language).intl;
    if (locale === undefined || Intl.DisplayNames.supportedLocalesOf([locale]).length === 0) return [];
    const translated = locale === 'en' ? english : words(locale);
    return stringDocuments('intl', 'general', language, groups, english, translated);
  };
}

function words(locale: string): Strings {
  const strings: Strings = new Map();
  const add = (key: string, text: string | undefined) => {
    if (text !== undefined && !isRootFallback(text)) strings.set(key, cleanText(text));
  };
  for (const [kind, codes] of NAMES) {
    const names = new Intl.DisplayNames([locale], { type: kind, fallback: 'none' });
    for (const code of codes()) add(`${kind}/${code}`, names.of(code));
  }
  const date = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeZone: 'UTC' });
  // Every 4th day: all months and all days of the week, in 92 dates.
  for (let day = 0; day < 365; day += 4) {
    const when = new Date(Date.UTC(2024, 0, 1 + day));
    add(`date/${when.toISOString().slice(0, 10)}`, date.format(when));
  }
  const span = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
  for (const unit of SPANS) for (const n of OFFSETS) add(`span/${unit} ${n}`, span.format(n, unit));
  for (const unit of UNITS) {
    const measure = new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' });
    for (const n of AMOUNTS) add(`measure/${unit} ${n}`, measure.format(n));
  }
  return strings;
}

/** `+3 w`, `38.5 kg`, `5 byte`: ICU's answer where the language has no word of its own. */
const isRootFallback = (text: string): boolean => /^[\p{N}\p{P}\p{S}\p{Z}\p{Cf}]*(?:[a-zA-Z]{1,4}|km\/h)$/u.test(text);
