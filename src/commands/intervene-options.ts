// What the four verbs of `moe intervene` are given: targets, layers and lists of experts, from words.
import type { Language } from '../data/types.ts';
import { UserError } from '../errors.ts';
import type { LayerExperts, Target } from '../intervene/choose.ts';

/** Families in the order of the languages, each a target. */
export function familiesOf(languages: readonly Language[]): Target[] {
  const names = [...new Set(languages.map(({ family }) => family))];
  return names.map(name => ({ name, languages: idsOf(languages, language => language.family === name) }));
}

const idsOf = (languages: readonly Language[], wanted: (language: Language) => boolean): number[] =>
  languages.flatMap((language, id) => (wanted(language) ? [id] : []));

/** `families`, `languages`, or codes and names of families with commas between them.
 *  @throws UserError naming the first word that is neither */
export function readTargets(text: string, languages: readonly Language[], option = '--targets'): Target[] {
  const families = familiesOf(languages);
  const alone = languages.map(({ code }, id) => ({ name: code, languages: [id] }));
  if (text === 'families') return families;
  if (text === 'languages') return alone;
  return text.split(',').map(word => {
    const found = [...alone, ...families].find(({ name }) => name.toLowerCase() === word.trim().toLowerCase());
    if (found) return found;
    throw new UserError(
      `${option} ${word}: there is no such language or family; choose from ${families.map(({ name }) => name).join(', ')}, or codes such as ${languages[0].code}.`,
    );
  });
}

/** `all`, `early`, `middle`, `late` (first quarter, half, last quarter of the MoE layers; thirds below 8), or numbers: `4,6-8`.
 *  @throws UserError for a layer that has no experts */
export function readLayers(text: string, moeLayers: readonly number[]): number[] {
  if (text === 'all') return [...moeLayers];
  const count = moeLayers.length;
  const cut = Math.max(1, count < 8 ? Math.floor(count / 3) : Math.round(count / 4));
  if (text === 'early') return moeLayers.slice(0, cut);
  if (text === 'late') return moeLayers.slice(-cut);
  if (text === 'middle' && count > 2) return moeLayers.slice(cut, -cut);
  const wanted = text.split(',').flatMap(part => {
    const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(part.trim()) ?? [];
    if (from === undefined || Number(to) < Number(from) || Number(to) - Number(from) > 10_000)
      throw new UserError(
        `--layers ${text} is not understood; write all, early, late${count > 2 ? ', middle' : ''}, or numbers such as 4,6-8.`,
      );
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i);
  });
  const dense = wanted.find(layer => !moeLayers.includes(layer));
  if (dense !== undefined)
    throw new UserError(`--layers ${text}: layer ${dense} has no experts; MoE layers are ${moeLayers.join(', ')}.`);
  return [...new Set(wanted)].sort((a, b) => a - b);
}

/** `0,2` in every layer, or `4:0,2;5:1`. @throws UserError for anything else, and for a layer that was not asked for */
export function readExperts(text: string, layers: readonly number[]): LayerExperts {
  const list = (words: string): number[] => {
    if (/^\d+(,\d+)*$/.test(words)) return [...new Set(words.split(',').map(Number))].sort((a, b) => a - b);
    throw new UserError(
      `--experts ${text} is not understood; write difference, own, exclusive, numbers such as 0,2, or by layer 4:0,2;5:1.`,
    );
  };
  if (!text.includes(':')) return new Map(layers.map(layer => [layer, list(text)]));
  return new Map(
    text.split(';').map(part => {
      const [layer, words = ''] = part.split(':');
      if (!layers.includes(Number(layer)) || layer.trim() === '')
        throw new UserError(`--experts ${text}: layer ${layer} is not among ${layers.join(', ')}.`);
      return [Number(layer), list(words)];
    }),
  );
}
