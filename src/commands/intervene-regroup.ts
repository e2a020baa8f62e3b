// `moe intervene regroup`: languages grouped by where they route, as a families file; beside it, how far the new map agrees with the
// known ones and with chance.
import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import pc from 'picocolors';
import seedrandom from 'seedrandom';
import { stringify } from 'yaml';
import { readDocumentCounts } from '../../analysis/read/document-counts.ts';
import { type Agreement, adjustedRand, agreement } from '../../analysis/regroup/adjusted-rand.ts';
import { type Method, type Regrouping, regroupLanguages } from '../../analysis/regroup/choose-groups.ts';
import type { TraceHeader } from '../../routing/trace.ts';
import { loadConfig } from '../config/load.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';
import { expand } from './intervene-expand.ts';
import { readLayers } from './intervene-options.ts';
import { createOutput, table } from './output.ts';

interface Options {
  out: string;
  how: Method;
  groups?: number;
  layers: string;
  draws: number;
  seed: number;
  expand?: number;
  model?: string;
  tokens: number;
  families?: string;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

/** Families are looked for up to this many: beyond, a family has few texts. */
const MOST_GROUPS = 16;
const MAPS = ['apollo', 'glottolog'];

export async function regroup(trace: string, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  if (existsSync(options.out)) throw new UserError(`--out ${options.out} exists already; choose another file.`);
  if ((options.expand === undefined) !== (options.model === undefined))
    throw new UserError('--expand N deals experts out by what --model DIR shows: give both, or neither.');
  const { header, counts } = await readDocumentCounts(trace);
  const layers = readLayers(options.layers, header.moeLayers);
  const spoken = new Set(counts.language).size;
  if (spoken < 3) throw new UserError(`${trace} has the routing of ${spoken} languages: grouping takes three or more.`);
  const { groups: asked } = options;
  if (asked !== undefined && (asked < 2 || asked >= spoken))
    throw new UserError(
      `--groups ${asked} is not between 2 and ${spoken - 1}, one less than the languages with routing.`,
    );
  const most = Math.min(MOST_GROUPS, spoken - 1);
  const result = regroupLanguages(counts, header, {
    method: options.how,
    layers: layers.map(layer => header.moeLayers.indexOf(layer)),
    counts: asked === undefined ? Array.from({ length: most - 1 }, (_, i) => i + 2) : [asked],
    draws: Math.min(options.draws, 200),
    random: seedrandom(`${options.seed}/draws`),
  });
  const families = familiesOf(result, header);
  const agreements = compare(result, header, options);
  makeFolder(dirname(options.out));
  writeFileSync(options.out, yamlOf(families, header, layers, options));
  const expansion = options.expand === undefined ? null : await expand(options.expand, options);
  for (const line of describe(result, families, agreements, header, layers, options)) out.say(line);
  if (expansion) for (const line of expansion.lines) out.say(line);
  const { groupings, chosen, stable } = result;
  out.result({
    out: options.out,
    groups: chosen.groups,
    stable,
    families,
    groupings: groupings.map(({ groups, silhouette, stability }) => ({ groups, silhouette, stability })),
    agreement: Object.fromEntries(agreements),
    expansion: expansion?.layers,
  });
}

interface NewFamily {
  name: string;
  languages: { code: string; name: string; script: string; routed: boolean }[];
}

/** Languages without routing go where most of their family went, else to the largest group. */
function familiesOf({ languages, chosen }: Regrouping, header: TraceHeader): NewFamily[] {
  const members = Array.from({ length: chosen.groups }, (_, g) => languages.filter((_, i) => chosen.group[i] === g));
  const largest = members.reduce((a, b) => (b.length > a.length ? b : a));
  header.languages.forEach(({ family }, language) => {
    if (languages.includes(language)) return;
    const kin = (group: number[]): number => group.filter(other => header.languages[other].family === family).length;
    const home = members.reduce((a, b) => (kin(b) > kin(a) ? b : a), largest);
    home.push(language);
  });
  return members.map((group, g) => ({
    name: `group ${g + 1} (${nameOf(group.map(language => header.languages[language]))})`,
    languages: group.map(language => {
      const { code, name, script } = header.languages[language];
      return { code, name, script, routed: languages.includes(language) };
    }),
  }));
}

/** The family of all or of more than half, else the first languages. */
function nameOf(languages: TraceHeader['languages']): string {
  const names = languages.map(({ family }) => family);
  const count = (name: string): number => names.filter(other => other === name).length;
  const [commonest] = [...new Set(names)].sort((a, b) => count(b) - count(a));
  if (count(commonest) === names.length) return commonest;
  if (2 * count(commonest) > names.length) return `mostly ${commonest}`;
  return `${languages
    .slice(0, 3)
    .map(({ code }) => code)
    .join(', ')}${languages.length > 3 ? ' …' : ''}`;
}

/** With each map that has all languages, with the run's own families where they are none of these, and with scripts. */
function compare({ languages, chosen }: Regrouping, header: TraceHeader, options: Options): Map<string, Agreement> {
  const codes = languages.map(language => header.languages[language].code);
  const maps = new Map<string, unknown[]>(
    MAPS.flatMap(name => {
      const { map } = loadConfig(`configs/families/${name}.yaml`);
      const family = new Map(map.languages.map(known => [known.code, known.family]));
      return codes.every(code => family.has(code)) ? [[name, codes.map(code => family.get(code))] as const] : [];
    }),
  );
  const own = languages.map(language => header.languages[language].family);
  if (![...maps.values()].some(labels => adjustedRand(labels, own) === 1)) maps.set('own families', own);
  maps.set(
    'scripts',
    languages.map(language => header.languages[language].script),
  );
  const random = seedrandom(`${options.seed}/permutations`);
  return new Map([...maps].map(([name, labels]) => [name, agreement(chosen.group, labels, options.draws, random)]));
}

function yamlOf(families: NewFamily[], header: TraceHeader, layers: number[], { out, how }: Options): string {
  const word = (text: string): string => stringify(text).trim();
  const lines = families.flatMap(({ name, languages }, expert) => [
    `  - name: ${word(name)}`,
    `    expert: ${expert}`,
    '    languages:',
    ...languages.map(({ code, name, script, routed }) => {
      const entry = `      - { code: ${word(code)}, name: ${word(name)}, script: ${word(script)} }`;
      return routed ? entry : `${entry} # without routing: put with its family`;
    }),
  ]);
  const from = `# Families learned from the routing of ${header.run}, layers ${layers.join(', ')} (moe intervene regroup --how ${how}).`;
  const name = basename(out)
    .replace(/\.ya?ml$/, '')
    .replace(/[^\w.-]/g, '-');
  return `${[from, `name: ${word(name)}`, 'families:', ...lines].join('\n')}\n`;
}

const unstable = ({ stability }: Regrouping['chosen']): string =>
  stability === null
    ? 'With one document per language no text can be drawn anew: nothing is known of how stable the groups are.'
    : 'No grouping is stable (0.6 or more) when texts are drawn anew: take it as a guess.';

function describe(
  { groupings, chosen, stable, languages }: Regrouping,
  families: NewFamily[],
  agreements: Map<string, Agreement>,
  header: TraceHeader,
  layers: number[],
  options: Options,
): string[] {
  const number = (value: number | null): string => (value === null || Number.isNaN(value) ? '–' : value.toFixed(3));
  const tried = groupings.map(({ groups, silhouette, stability }) => [
    groups === chosen.groups ? `${groups} ←` : `${groups}`,
    number(silhouette),
    number(stability),
  ]);
  const agreed = [...agreements].map(([name, { rand, p, random95 }]) => [
    name,
    number(rand),
    number(random95),
    number(p),
  ]);
  return [
    `${header.run}: ${languages.length} languages by their routing in layers ${layers.join(', ')}, ${options.how === 'average' ? 'average linkage' : 'groups of equal size'}.\n`,
    table(['groups', 'silhouette', 'stability'], tried, ''),
    '',
    ...(stable ? [] : [pc.yellow(unstable(chosen)), '']),
    ...families.map(({ name, languages }, g) => `  ${g}  ${name}: ${languages.map(({ code }) => code).join(' ')}`),
    '',
    'Agreement with known maps (adjusted Rand: 0 chance, 1 the same):',
    table(['map', 'rand', 'random, 95 %', 'p'], agreed, ''),
    '',
    `${options.out}: ${families.length} families. Train with it: moe train --families ${options.out}`,
  ];
}
