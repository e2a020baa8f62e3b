// Languages → experts: the table that turns a language id into the expert that serves it, from a families file's list.
// Also the control: the same group sizes with languages dealt out at random.
import seedrandom from 'seedrandom';
import { UserError } from '../src/errors.ts';

/** What routing needs of a language; its place in the list is the language id. */
export interface LanguagePlace {
  code: string;
  name: string;
  family: string;
  /** Expert that serves it, from 0. */
  expert: number;
}
export interface FamilyMap {
  numExperts: number;
  /** [languages] expert of each language id. */
  languageExpert: Int32Array;
  /** [E] the family an expert serves, or the language where a family has several experts. */
  expertNames: string[];
}

/** Reads the table off the list. Throws UserError if an expert id is missing below the highest one, or is not a whole number. */
export function familyMap(languages: readonly LanguagePlace[]): FamilyMap {
  for (const { code, expert } of languages) {
    if (!Number.isInteger(expert) || expert < 0) {
      throw new UserError(`Language ${code} has expert id ${expert}: give it a whole number from 0.`);
    }
  }
  const numExperts = Math.max(-1, ...languages.map(language => language.expert)) + 1;
  if (numExperts === 0) throw new UserError('The families file lists no language: give at least one.');
  const served_E = Array.from({ length: numExperts }, (_, e) => languages.filter(({ expert }) => expert === e));
  const hole = served_E.findIndex(served => served.length === 0);
  if (hole >= 0) {
    throw new UserError(
      `Expert ${hole} serves no language but expert ${numExperts - 1} exists: number experts 0, 1, 2, …`,
    );
  }
  const languageExpert = Int32Array.from(languages, ({ expert }) => expert);
  return { numExperts, languageExpert, expertNames: served_E.map(served => expertName(served, languages)) };
}

function expertName(served: readonly LanguagePlace[], all: readonly LanguagePlace[]): string {
  const families = [...new Set(served.map(({ family }) => family))];
  const { expert } = served[0];
  const shared = all.some(other => families.includes(other.family) && other.expert !== expert);
  return (shared ? served.map(({ name }) => name) : families).join(' + ');
}

/** Control for "do families matter": deals the same experts out to the languages at random; group sizes stay. */
export function randomFamilyMap(languages: readonly LanguagePlace[], seed: string | number): FamilyMap {
  const { numExperts, languageExpert } = familyMap(languages);
  const random = seedrandom(String(seed));
  for (let i = languageExpert.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [languageExpert[i], languageExpert[j]] = [languageExpert[j], languageExpert[i]];
  }
  return { numExperts, languageExpert, expertNames: Array.from({ length: numExperts }, (_, e) => `random ${e}`) };
}
