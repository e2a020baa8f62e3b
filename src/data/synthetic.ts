// Made-up languages with a known family tree, for tests and lessons: unlimited parallel text under no licence, and a right
// answer to "which languages belong together". A family has a sound inventory, roots, endings and a word order; each
// sub-family, and then each language, shifts a sound and replaces some words, so relatives share most of them.
import seedrandom from 'seedrandom';
import { itemSplit } from './split.ts';
import type { Corpus, Document, Language } from './types.ts';

type Random = () => number;

export interface SyntheticOptions {
  seed: string | number;
  /** Languages per family, for example [3, 4, 2]. One expert serves one family. */
  families: number[];
  /** Parallel items, each a document per language. */
  items: number;
  /** Sentences per item (default 4). */
  sentences?: number;
}

/** What a synthetic language is made of; the sub-family is its place in the tree below the family. */
export interface SyntheticLanguage {
  language: Language;
  subfamily: number;
  /** Word of each concept. */
  words: string[];
  /** Order of subject, verb and object in a sentence. */
  order: string;
  /** Endings of a subject, a verb and an object. */
  endings: string[];
}

const CONSONANTS = [...'ptkbdgmnszfvlrhjw'];
const VOWELS = [...'aeiouy'];
const ORDERS = ['svo', 'sov', 'vso', 'vos', 'ovs', 'osv'];
const CONCEPTS = 240;
/** The first concepts are the vocabulary of health: documents of the medical domain draw their objects from them. */
const HEALTH_CONCEPTS = 40;
const LANGUAGES_PER_SUBFAMILY = 2;

/** The languages of a seed: codes `x0a`, `x0b`, … (family number, letter), families `family-0`, …; expert = family. */
export function syntheticLanguages({
  seed,
  families,
}: Pick<SyntheticOptions, 'seed' | 'families'>): SyntheticLanguage[] {
  let index = 0;
  return families.flatMap((size, family) => {
    const random = seedrandom(`family/${seed}/${family}`);
    const sounds = { consonants: sample(CONSONANTS, 9, random), vowels: sample(VOWELS, 4, random) };
    // The last three words are endings of a subject, a verb and an object: they shift their sounds but are not replaced.
    const roots = inventWords(CONCEPTS + 3, sounds, random);
    const order = pick(ORDERS, random);
    return Array.from({ length: size }, (_, member): SyntheticLanguage => {
      const subfamily = Math.floor(member / LANGUAGES_PER_SUBFAMILY);
      const branch = change(roots, 0.15, sounds, seedrandom(`branch/${seed}/${family}/${subfamily}`));
      const own = seedrandom(`language/${seed}/${family}/${member}`);
      const letter = String.fromCharCode(97 + (member % 26)).repeat(1 + Math.floor(member / 26));
      const words = change(branch, 0.08, sounds, own);
      return {
        language: {
          index: index++,
          code: `x${family}${letter}`,
          name: `Synthetic ${family}${letter}`,
          script: 'Latn',
          family: `family-${family}`,
          expert: family,
        },
        subfamily,
        words: words.slice(0, CONCEPTS),
        order,
        endings: words.slice(CONCEPTS).map(word => word.slice(-3)),
      };
    });
  });
}

/** Parallel documents `synthetic/<item>/<code>`: the same meanings in every language, every fourth item medical. */
export function syntheticCorpus(options: SyntheticOptions): { languages: Language[]; corpus: Corpus } {
  const made = syntheticLanguages(options);
  const documents = made.flatMap(language =>
    Array.from({ length: options.items }, (_, n): Document => {
      const item = `synthetic/${n}`;
      const medical = n % 4 === 0;
      return {
        id: `${item}/${language.language.code}`,
        language: language.language.code,
        source: 'synthetic',
        domain: medical ? 'medical' : 'general',
        split: itemSplit(`${options.seed}/${item}`),
        item,
        text: tell(language, meanings(`${options.seed}/${n}`, options.sentences ?? 4, medical)),
      };
    }),
  );
  const manifest = { node: process.version, icu: process.versions.icu ?? 'none', sources: [] };
  return { languages: made.map(({ language }) => language), corpus: { documents, manifest } };
}

/** Sentences as triples of concepts (subject, verb, object), frequent concepts first (Zipf). */
function meanings(seed: string, sentences: number, medical: boolean): number[][] {
  const random = seedrandom(`item/${seed}`);
  const concept = (from: number, to: number) => from + Math.floor((to - from + 1) ** random()) - 1;
  return Array.from({ length: sentences }, () => [
    concept(HEALTH_CONCEPTS, CONCEPTS),
    concept(HEALTH_CONCEPTS, CONCEPTS),
    medical ? concept(0, HEALTH_CONCEPTS) : concept(HEALTH_CONCEPTS, CONCEPTS),
  ]);
}

function tell({ words, order, endings }: SyntheticLanguage, sentences: number[][]): string {
  return sentences
    .map(triple => {
      const parts = triple.map((concept, role) => words[concept] + endings[role]);
      return `${[...order].map(role => parts['svo'.indexOf(role)]).join(' ')}.`;
    })
    .join(' ');
}

interface Sounds {
  consonants: string[];
  vowels: string[];
}

const inventWords = (count: number, sounds: Sounds, random: Random): string[] =>
  Array.from({ length: count }, () => inventWord(sounds, random));

/** Two or three open syllables, at times closed at the end. */
function inventWord({ consonants, vowels }: Sounds, random: Random): string {
  const syllables = 2 + Math.floor(random() * 2);
  let word = '';
  for (let i = 0; i < syllables; i++) word += pick(consonants, random) + pick(vowels, random);
  return random() < 0.3 ? word + pick(consonants, random) : word;
}

/** One step down the tree: one regular sound shift, and a share of the words (not of the endings) replaced by new ones. */
function change(words: string[], replaced: number, sounds: Sounds, random: Random): string[] {
  const from = pick(sounds.consonants, random);
  const to = pick(CONSONANTS, random);
  return words.map((word, i) =>
    i < CONCEPTS && random() < replaced ? inventWord(sounds, random) : word.replaceAll(from, to),
  );
}

const pick = <T>(list: readonly T[], random: Random): T => list[Math.floor(random() * list.length)];

function sample<T>(list: readonly T[], count: number, random: Random): T[] {
  const rest = [...list];
  return Array.from({ length: count }, () => rest.splice(Math.floor(random() * rest.length), 1)[0]);
}
