// Is the text what it says it is? Per language: script, Unicode form, leftovers of English, the text of another language under
// this one's name (as in a mislabelled file), and language identity by two identifiers. Answers a table; prints nothing.
import { CONFUSION_SETS, type Identifier, openIdentifier } from './identify.ts';
import { byteLength } from './text.ts';
import type { Document, Language } from './types.ts';

export type CheckName = 'script' | 'nfc' | 'english' | 'twin' | 'identity';
export interface CheckRow {
  language: string;
  check: CheckName;
  /** `warning`: worth knowing, not wrong. `unknown`: could not be judged. */
  result: 'pass' | 'warning' | 'fail' | 'unknown';
  /** What was measured, 0 to 1: share in script, share in NFC, share left in English, likeness of the nearest other language,
   *  share of lines identified. Null when nothing could be measured. */
  figure: number | null;
  reason: string;
}

const MIN_SCRIPT = 0.95;
const MAX_ENGLISH = 0.01;
const MIN_IDENTITY = 0.9;
/** Cosine of trigram counts over common items: 1 is the same text; Croatian and Bosnian have 0.96, Danish and Norwegian 0.89. */
const TWIN = 0.99;
const KIN = 0.75;
/** Lines shorter than this many letters and marks say too little about their language. */
const IDENTITY_LETTERS = 60;
const IDENTITY_LINES = 200;

/** All checks of all languages; a language without documents gets no rows. Warnings and failures carry a reason. */
export async function checkCorpus(documents: Document[], languages: Language[]): Promise<CheckRow[]> {
  const byLanguage = new Map(languages.map(({ code }): [string, Document[]] => [code, []]));
  for (const document of documents) byLanguage.get(document.language)?.push(document);
  const present = languages.filter(({ code }) => byLanguage.get(code)!.length > 0);
  const english = byLanguage.get('en') ?? [];
  const twins = nearest(present, byLanguage);
  const identifier = await openIdentifier();
  try {
    return present.flatMap(language => {
      const own = byLanguage.get(language.code)!;
      const rows = [checkScript(language, own), checkNfc(own), checkEnglish(language, own, english)];
      rows.push(checkTwin(twins.get(language.code)!), checkIdentity(language, own, identifier));
      return rows.map(row => ({ language: language.code, ...row }));
    });
  } finally {
    identifier.close();
  }
}

type Finding = Omit<CheckRow, 'language'>;

/** Scripts that a code of ISO 15924 stands for, where it is not a Unicode script itself. */
const SCRIPTS: Record<string, string[]> = {
  Hans: ['Hani'],
  Hant: ['Hani'],
  Jpan: ['Hani', 'Hira', 'Kana'],
  Kore: ['Hang', 'Hani'],
};

function checkScript(language: Language, own: Document[]): Finding {
  const names = SCRIPTS[language.script] ?? [language.script];
  let inside: RegExp;
  try {
    inside = new RegExp(`^[${names.map(name => `\\p{scx=${name}}`).join('')}]$`, 'u');
  } catch {
    return { check: 'script', result: 'unknown', figure: null, reason: `Unicode has no script "${language.script}"` };
  }
  let letters = 0;
  let right = 0;
  const others = new Map<string, number>();
  for (const { text } of own) {
    for (const letter of withoutPlaceholders(text).match(/\p{L}/gu) ?? []) {
      letters++;
      if (inside.test(letter)) right++;
      else others.set(letter, (others.get(letter) ?? 0) + 1);
    }
  }
  if (letters === 0) return { check: 'script', result: 'fail', figure: null, reason: 'no letters at all' };
  const figure = right / letters;
  const strange = [...others]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 8)
    .map(([letter]) => letter);
  const reason = `${percent(figure)} of its letters are ${language.script}; the others begin with ${strange.join(' ')}`;
  return {
    check: 'script',
    result: figure >= MIN_SCRIPT ? 'pass' : 'fail',
    figure,
    reason: figure >= MIN_SCRIPT ? '' : reason,
  };
}

function checkNfc(own: Document[]): Finding {
  const wrong = own.filter(({ text }) => text !== text.normalize('NFC'));
  const figure = 1 - wrong.length / own.length;
  const reason = wrong.length === 0 ? '' : `${wrong.length} documents are not in NFC, the first is ${wrong[0].id}`;
  return { check: 'nfc', result: wrong.length === 0 ? 'pass' : 'fail', figure, reason };
}

/** Lines of four and more words that English has word for word. Shorter ones are often names or loans. */
function checkEnglish(language: Language, own: Document[], english: Document[]): Finding {
  if (language.code === 'en' || english.length === 0)
    return { check: 'english', result: 'pass', figure: 0, reason: '' };
  const lines = new Set(english.flatMap(({ text }) => text.split('\n')).filter(isPhrase));
  let total = 0;
  let left = 0;
  let example = '';
  for (const { text } of own) {
    for (const line of text.split('\n')) {
      const bytes = byteLength(line);
      total += bytes;
      if (!lines.has(line)) continue;
      left += bytes;
      example ||= line;
    }
  }
  const figure = total === 0 ? 0 : left / total;
  const reason =
    left === 0 ? '' : `${percent(figure)} of its text is English word for word, such as "${example.slice(0, 60)}"`;
  return { check: 'english', result: figure > MAX_ENGLISH ? 'fail' : left > 0 ? 'warning' : 'pass', figure, reason };
}

const isPhrase = (line: string): boolean => line.split(' ').length >= 4;

interface Nearest {
  code: string;
  likeness: number;
}

function checkTwin(near: Nearest | null): Finding {
  if (near === null) return { check: 'twin', result: 'pass', figure: null, reason: '' };
  const { code, likeness } = near;
  const figure = likeness;
  if (likeness >= TWIN) {
    const reason = `it is the same text as ${code} (likeness ${likeness.toFixed(3)}); one of the two is mislabelled`;
    return { check: 'twin', result: 'fail', figure, reason };
  }
  if (likeness < KIN) return { check: 'twin', result: 'pass', figure, reason: '' };
  return { check: 'twin', result: 'warning', figure, reason: `close to ${code} (likeness ${likeness.toFixed(2)})` };
}

/** Per language the other language with the likest text, compared within each source of running text that both have. */
function nearest(languages: Language[], byLanguage: Map<string, Document[]>): Map<string, Nearest | null> {
  const profiles = languages.map(({ code }) => profilesOf(byLanguage.get(code)!));
  const best = new Map<string, Nearest | null>(languages.map(({ code }) => [code, null]));
  const note = (code: string, other: string, likeness: number) => {
    if (likeness > (best.get(code)?.likeness ?? 0)) best.set(code, { code: other, likeness });
  };
  for (let a = 0; a < languages.length; a++) {
    for (let b = a + 1; b < languages.length; b++) {
      for (const [source, profile] of profiles[a]) {
        const other = profiles[b].get(source);
        if (other === undefined) continue;
        const likeness = cosine(profile, other);
        note(languages[a].code, languages[b].code, likeness);
        note(languages[b].code, languages[a].code, likeness);
      }
    }
  }
  return best;
}

/** Trigram counts of each source. */
function profilesOf(documents: Document[]): Map<string, Map<string, number>> {
  const profiles = new Map<string, Map<string, number>>();
  for (const { source, text } of documents) {
    if (source === 'intl') continue;
    const counts = profiles.get(source) ?? new Map<string, number>();
    profiles.set(source, counts);
    const flat = ` ${withoutPlaceholders(text)
      .toLowerCase()
      .replace(/[^\p{L}\p{M}]+/gu, ' ')} `;
    for (let i = 0; i + 3 <= flat.length; i++) {
      const trigram = flat.slice(i, i + 3);
      counts.set(trigram, (counts.get(trigram) ?? 0) + 1);
    }
  }
  return profiles;
}

function cosine(a: Map<string, number>, b: Map<string, number>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  let dot = 0;
  for (const [trigram, count] of small) dot += count * (large.get(trigram) ?? 0);
  return dot === 0 ? 0 : dot / (norm(a) * norm(b));
}

const norms = new WeakMap<Map<string, number>, number>();
function norm(profile: Map<string, number>): number {
  let value = norms.get(profile);
  if (value === undefined) {
    value = Math.sqrt([...profile.values()].reduce((sum, count) => sum + count * count, 0));
    norms.set(profile, value);
  }
  return value;
}

function checkIdentity(language: Language, own: Document[], identifier: Identifier): Finding {
  if (!identifier.knows(language)) {
    const reason = `neither identifier knows ${language.name}`;
    return { check: 'identity', result: 'unknown', figure: null, reason };
  }
  const lines = spread(
    own
      .filter(({ source }) => source !== 'intl')
      .flatMap(({ text }) => text.split('\n'))
      .filter(isLong),
    IDENTITY_LINES,
  );
  if (lines.length === 0) {
    return { check: 'identity', result: 'unknown', figure: null, reason: 'no line of running text is long enough' };
  }
  const heard = new Map<string, number>();
  let right = 0;
  for (const line of lines) {
    const answer = identifier.accepts(language, line);
    if (answer.pass) right++;
    else heard.set(answer.heard, (heard.get(answer.heard) ?? 0) + 1);
  }
  const figure = right / lines.length;
  const common = [...heard]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3)
    .map(([names, count]) => `${names} ×${count}`);
  const kin = CONFUSION_SETS.find(set => set.includes(language.code));
  const asked = kin === undefined ? language.code : `one of ${kin.join(' ')}`;
  const reason = `${percent(figure)} of ${lines.length} lines identified as ${asked}; others as ${common.join(', ')}`;
  if (figure < MIN_IDENTITY) return { check: 'identity', result: 'fail', figure, reason };
  return { check: 'identity', result: 'pass', figure, reason: heard.size === 0 ? '' : reason };
}

const isLong = (line: string): boolean => (line.match(/[\p{L}\p{M}]/gu)?.length ?? 0) >= IDENTITY_LETTERS;

/** At most `count` entries, evenly spread over the list. */
const spread = <T>(list: T[], count: number): T[] =>
  list.length <= count ? list : Array.from({ length: count }, (_, i) => list[Math.floor((i * list.length) / count)]);

const withoutPlaceholders = (text: string): string => text.replace(/\{+[^{}]*\}+/g, ' ');
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
