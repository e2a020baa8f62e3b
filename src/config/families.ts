// From a families file to the list of languages and their experts, with the checks that a map must pass:
// each language in exactly one family, expert ids 0…E−1 without holes.
import { familyMap, randomFamilyMap } from '../../routing/family.ts';
import type { Language } from '../data/types.ts';
import { UserError } from '../errors.ts';
import type { FamiliesFile } from './schema.ts';

export interface FamilyMap {
  languages: Language[];
  numExperts: number;
  /** Name of the family (or language) that each expert serves, by expert id. */
  expertNames: string[];
}

/** Where a value stands in its file, for messages: `families[3].expert` → "file.yaml line 12". */
export type Locate = (path: PropertyKey[]) => string;

/**
 * @param file  families, each with an expert id and its languages
 * @param codes `all`, or the subset of codes to keep (experts stay as in the file)
 * @param locate turns a path inside the families file into "file line n"
 * @param locateCode where the i-th entry of `codes` stands
 * @param shuffleSeed deals the same experts out at random: the control for "do families matter"
 */
export function resolveMap(
  file: FamiliesFile,
  codes: 'all' | string[],
  locate: Locate,
  locateCode: Locate = locate,
  shuffleSeed: number | null = null,
): FamilyMap {
  const home = new Map<string, string>();
  const all: Omit<Language, 'index'>[] = [];
  file.families.forEach((family, f) => {
    family.languages.forEach((language, l) => {
      const other = home.get(language.code);
      if (other !== undefined)
        throw new UserError(
          `${locate(['families', f, 'languages', l, 'code'])}: language '${language.code}' stands in two families, ${other} and ${family.name}; keep it in one.`,
        );
      home.set(language.code, family.name);
      all.push({ ...language, family: family.name, expert: family.expert });
    });
  });
  refuseHoles(file, locate);
  if (codes !== 'all') checkCodes(codes, home, locateCode);
  const wanted = codes === 'all' ? null : new Set(codes);
  const { numExperts, expertNames, languageExpert } =
    shuffleSeed === null ? familyMap(all) : randomFamilyMap(all, shuffleSeed);
  const languages = all
    .map((language, i) => ({ ...language, expert: languageExpert[i] }))
    .filter(language => wanted === null || wanted.has(language.code))
    .map((language, index) => ({ ...language, index }));
  return { languages, numExperts, expertNames };
}

function refuseHoles({ families }: FamiliesFile, locate: Locate): void {
  const used = new Set(families.map(family => family.expert));
  const highest = Math.max(...used);
  for (let expert = 0; expert < highest; expert++)
    if (!used.has(expert))
      throw new UserError(
        `${locate(['families'])}: no family has expert ${expert}, although ids go up to ${highest}; number the experts 0 to ${used.size - 1} without holes.`,
      );
}

function checkCodes(codes: string[], home: Map<string, string>, locate: Locate): void {
  const seen = new Set<string>();
  codes.forEach((code, i) => {
    if (!home.has(code))
      throw new UserError(
        `${locate(['languages', i])}: language '${code}' is in no family; add it to a family, or choose from ${[...home.keys()].join(' ')}.`,
      );
    if (seen.has(code))
      throw new UserError(`${locate(['languages', i])}: language '${code}' is listed twice; remove one.`);
    seen.add(code);
  });
}
