// Which language is this line in, by two identifiers: CLD3 (a small neural net, WebAssembly) and franc (trigrams). Each knows
// languages that the other does not. Loaded only when asked, since both take a moment.
import { factsOf } from './language-facts.ts';
import type { Language } from './types.ts';

/** Languages that identifiers, and at times people, take for each other on short text. */
export const CONFUSION_SETS = [
  ['hr', 'bs', 'sr'],
  ['da', 'no'],
  ['hi', 'mai', 'sa', 'ne'],
  ['ku', 'ckb'],
  ['nso', 'st'],
  ['rw', 'run'],
  ['es', 'gl', 'pt'],
  ['co', 'it'],
];

export interface Identifier {
  /** True when an identifier knows the language itself. */
  knows(language: Language): boolean;
  /** Does either identifier name the language, or a member of its confusion set? `heard` is what the two said. */
  accepts(language: Language, text: string): { pass: boolean; heard: string };
  /** Frees CLD3's memory. */
  close(): void;
}

/** Loads both identifiers. */
export async function openIdentifier(): Promise<Identifier> {
  const [{ loadModule }, { franc }] = await Promise.all([import('cld3-asm'), import('franc-all')]);
  // CLD3 reads at most so many bytes of a text; a line of 2,000 says enough.
  const cld3 = (await loadModule()).create(0, 2000);
  const namesOf = (language: Language) => {
    const code = language.code === 'ne' && language.script === 'Cyrl' ? 'mn' : language.code;
    const kin = CONFUSION_SETS.find(set => set.includes(code)) ?? [];
    const facts = [
      factsOf(language),
      ...kin.filter(each => each !== code).map(each => factsOf({ code: each, script: '' })),
    ];
    return { cld3: new Set(facts.map(each => each.cld3)), franc: new Set(facts.map(each => each.franc)) };
  };
  return {
    knows(language) {
      const facts = factsOf(language);
      return facts.cld3 !== undefined || facts.franc !== undefined;
    },
    accepts(language, text) {
      const names = namesOf(language);
      const byCld3 = cld3.findLanguage(text)?.language ?? 'und';
      if (names.cld3.has(byCld3)) return { pass: true, heard: byCld3 };
      const byFranc = franc(text);
      return { pass: names.franc.has(byFranc), heard: `${byCld3}/${byFranc}` };
    },
    close: () => cld3.dispose(),
  };
}
