// The corpus: parallel documents of all languages from the installed packages and from the user's own files.
// Order: languages as given, within one the sources as listed, within one the items; nothing depends on the machine but ICU.
import { createHash } from 'node:crypto';
import { UserError } from '../errors.ts';
import { openHealthEspresso } from './sources/health-espresso.ts';
import { openIntl } from './sources/intl.ts';
import { packageVersion } from './sources/package.ts';
import { openQuiz } from './sources/quiz.ts';
import { readUdhr } from './sources/udhr.ts';
import type { Corpus, CorpusManifest, Document, Language } from './types.ts';

export type SourceName = 'udhr' | 'health-espresso' | 'quiz' | 'intl';

interface Source {
  package: string;
  version: () => string;
  open: () => (language: Language) => Document[];
}
const SOURCES: Record<SourceName, Source> = {
  udhr: { package: 'udhr', version: () => packageVersion('udhr'), open: () => readUdhr },
  'health-espresso': {
    package: '@health.espresso/translations',
    version: () => packageVersion('@health.espresso/translations'),
    open: openHealthEspresso,
  },
  quiz: {
    package: '@instructure/quiz-translations',
    version: () => packageVersion('@instructure/quiz-translations'),
    open: openQuiz,
  },
  intl: { package: 'icu', version: () => process.versions.icu ?? 'none', open: openIntl },
};
export const SOURCE_NAMES = Object.keys(SOURCES) as SourceName[];

/** Version of the package that a source reads, for `moe doctor`. UserError when it is not installed. */
export const sourceVersion = (name: SourceName): string => SOURCES[name].version();

export interface CorpusOptions {
  /** Packages to read; all four by default. */
  sources?: SourceName[];
  /** The user's own documents (user.ts), put after the packages' documents of their language. */
  own?: Document[];
  /** Languages that may be without any text: `true` for all, or their codes. By default none may. */
  allowMissing?: boolean | string[];
}

/** Reads the corpus of the given languages, in a second or so.
 *  Errors: an unknown source, a text package that is not installed, a language without text (unless allowed), own text in a
 *  language that is not among them. */
export function loadCorpus(languages: Language[], options: CorpusOptions = {}): Corpus {
  const { sources = SOURCE_NAMES, own = [], allowMissing = false } = options;
  const readers = sources.map(name => sourceOf(name).open());
  const ownByLanguage = groupByLanguage(own, languages);
  const documents = languages.flatMap(language => [
    ...readers.flatMap(read => read(language)),
    ...(ownByLanguage.get(language.code) ?? []),
  ]);
  refuseDoubles(documents);
  refuseMissing(languages, documents, sources, allowMissing);
  return { documents, manifest: describe(documents, sources) };
}

/** Languages with no running text: nothing at all, or only the words of `intl` (Dogri and Sorani in the default corpus).
 *  Figures mark them. */
export function zeroTextLanguages(documents: Document[], languages: Language[]): Set<string> {
  const withText = new Set(documents.filter(document => document.source !== 'intl').map(document => document.language));
  return new Set(languages.map(language => language.code).filter(code => !withText.has(code)));
}

function sourceOf(name: string): Source {
  if (Object.hasOwn(SOURCES, name)) return SOURCES[name as SourceName];
  throw new UserError(`there is no text source "${name}"; choose among ${SOURCE_NAMES.join(', ')}`);
}

function groupByLanguage(own: Document[], languages: Language[]): Map<string, Document[]> {
  const groups = new Map<string, Document[]>(languages.map(language => [language.code, []]));
  for (const document of own) {
    const group = groups.get(document.language);
    if (group === undefined) {
      throw new UserError(
        `document ${document.id} of ${document.source} is in "${document.language}", which the families file does not have; ` +
          'add the language to the families file or take the document out',
      );
    }
    group.push(document);
  }
  return groups;
}

function refuseDoubles(documents: Document[]): void {
  const seen = new Set<string>();
  for (const { id, source } of documents) {
    if (seen.has(id)) throw new UserError(`two documents of ${source} have the id "${id}"; give each its own id`);
    seen.add(id);
  }
}

function refuseMissing(
  languages: Language[],
  documents: Document[],
  sources: string[],
  allowMissing: boolean | string[],
): void {
  if (allowMissing === true) return;
  const present = new Set(documents.map(document => document.language));
  const allowed = new Set(allowMissing || []);
  const missing = languages.filter(({ code }) => !present.has(code) && !allowed.has(code));
  if (missing.length === 0) return;
  const names = missing.map(({ name, code }) => `${name} (${code})`).join(', ');
  throw new UserError(
    `no text for ${names} in ${sources.join(', ') || 'any source'}; ` +
      'add your own text or another source, or go on without by setting data.allow_missing to true.',
  );
}

function describe(documents: Document[], sources: SourceName[]): CorpusManifest {
  const hashes = new Map<string, Map<string, ReturnType<typeof createHash>>>();
  for (const { source, language, id, split, text } of documents) {
    const languages = hashes.get(source) ?? new Map();
    hashes.set(source, languages);
    const hash = languages.get(language) ?? createHash('sha256');
    languages.set(language, hash);
    hash.update(`${id}\0${split}\0${text}\0`);
  }
  const named = (name: string) => Object.hasOwn(SOURCES, name) && sources.includes(name as SourceName);
  return {
    node: process.version,
    icu: process.versions.icu ?? 'none',
    sources: [...hashes].map(([source, languages]) => ({
      source,
      package: named(source) ? SOURCES[source as SourceName].package : 'own text',
      version: named(source) ? SOURCES[source as SourceName].version() : '',
      sha256: Object.fromEntries([...languages].map(([language, hash]) => [language, hash.digest('hex')])),
    })),
  };
}
