// What an analysis says in words: the verdict for somebody who has seen nothing else, the few numbers that carry it, and the line of
// each language. Words follow the numbers; nothing is claimed that the trace cannot show.
import type { ColumnTable } from 'arquero';
import { bandsOf } from '../bands.ts';
import type { Estimate } from '../document-counts.ts';
import { zeroTextNote } from '../figures/caption.ts';
import { percent } from '../figures/svg.ts';
import type { LanguageLine, Tile } from '../report/report.ts';
import {
  attributionSentence,
  concentrationSentence,
  controlSentences,
  distanceSentence,
  spreadHeadline,
  spreadNumbers,
  spreadSentence,
} from '../spread-sentence.ts';
import type { Measured } from './measure.ts';
import type { Tables } from './tables.ts';

type Use = { fertility: number | null; sharedTokens: number | null };

const NOTHING = 'The trace holds no counted token, so there is nothing to measure.';
const many = (n: number): string => n.toLocaleString('en-US');
const points = (share: number): string => `${share < 0 ? '−' : '+'}${(100 * Math.abs(share)).toFixed(1)}`;

/** Most important first: the verdict, then the layers it rests on, then what the controls leave of it. */
export function sentencesOf(measured: Measured): string[] {
  const { header, spread, controls } = measured;
  if (measured.counts.document.length === 0) {
    return [NOTHING, zeroTextNote(header)].filter(Boolean);
  }
  const list = [
    spreadSentence(spread),
    ...layerSentences(measured),
    concentrationSentence(spread),
    ...controlSentences(controls),
    attributionSentence(spread, controls),
    distanceSentence(
      { ...spread, verdict: spread.beyond?.byTexts ?? spread.verdict },
      header.languages[measured.pivot].name,
    ),
    zeroTextNote(header),
  ];
  return list.filter(sentence => sentence !== '');
}

/** First, middle and last MoE layer: own expert, language's share of the budget, what shuffled languages would give. */
function layerSentences({ header, estimates, tokens }: Measured): string[] {
  const information = estimates.get('information') ?? [];
  const chosen = estimates.get('chosen') ?? [];
  const n = header.languages.length;
  const told = [...new Set([0, Math.floor((header.moeLayers.length - 1) / 2), header.moeLayers.length - 1])];
  return told.flatMap(l => {
    const budget = information[l];
    if (!budget || !Number.isFinite(budget.estimate)) return [];
    const total = Math.log(header.numExperts);
    const own = header.languages.flatMap((_, i) => (tokens[i] > 0 ? [chosen[l * n + i]?.plugIn] : []));
    const known = own.filter(value => Number.isFinite(value));
    const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
    const uniform = header.expertsPerToken / header.numExperts;
    const obeys =
      known.length > 0
        ? `${percent(mean)} of tokens choose their language's own expert (${percent(uniform)} by chance); `
        : '';
    const chance = budget.nullMean === null ? '' : ` (${percent(budget.nullMean / total)} if languages were shuffled)`;
    return [
      `Layer ${header.moeLayers[l]}: ${obeys}language decides ${percent(Math.max(0, budget.estimate) / total)} of the routing budget${chance}.`,
    ];
  });
}

/** The numbers of the first screen. */
export function tilesOf({ header, spread, estimates, counts, tokens }: Measured): Tile[] {
  const profile = spread.profile;
  const identity = 'of a token’s language identity can be read from one routed slot';
  const share = (band: number[]) => band.reduce((sum, l) => sum + profile[l].estimate, 0) / band.length;
  const layers = header.moeLayers;
  const total = tokens.reduce((a, b) => a + b, 0);
  const tiles: Tile[] = [];
  if (spread.contrasts && spread.bands) {
    const { index } = spread.contrasts;
    const interval =
      index.low === null || index.high === null ? '' : `, 95 % ${points(index.low)} to ${points(index.high)}`;
    tiles.push({
      value: `${points(index.estimate)} points`,
      meaning: `late minus the larger of early and middle${interval}`,
    });
    tiles.push({
      value: percent(share(spread.bands.early)),
      meaning: `${identity} in the first ${words(spread.bands.early.length)}`,
    });
    tiles.push({
      value: percent(share(spread.bands.late)),
      meaning: `${identity} in the last ${words(spread.bands.late.length)}`,
    });
  } else {
    for (const l of new Set([0, layers.length - 1])) {
      if (Number.isFinite(profile[l]?.estimate)) {
        tiles.push({ value: percent(Math.max(0, profile[l].estimate)), meaning: `${identity} in layer ${layers[l]}` });
      }
    }
  }
  const own = meanOf(estimates.get('chosen') ?? [], layers.length - 1, header.languages.length);
  if (own !== null) {
    const uniform = percent(header.expertsPerToken / header.numExperts);
    tiles.push({
      value: percent(own),
      meaning: `of tokens choose their own language’s expert in layer ${layers.at(-1)}; ${uniform} by chance`,
    });
  }
  tiles.push({
    value: `${many(total)} tokens`,
    meaning: `in ${many(counts.document.length)} documents of ${tokens.filter(t => t > 0).length} languages; ${layers.length} of ${header.numLayers} layers route, ${header.expertsPerToken} of ${header.numExperts} experts per token`,
  });
  return tiles;
}

const capital = (sentence: string): string => sentence.charAt(0).toUpperCase() + sentence.slice(1);
const words = (layers: number): string => (layers === 1 ? 'MoE layer' : `${layers} MoE layers`);

function meanOf(list: Estimate[], layer: number, languages: number): number | null {
  const known = list.slice(layer * languages, (layer + 1) * languages).filter(({ plugIn }) => Number.isFinite(plugIn));
  return known.length === 0 ? null : known.reduce((sum, { plugIn }) => sum + plugIn, 0) / known.length;
}

/** The verdict as the page's first line. */
export function headlineOf({ counts, spread }: Measured): string {
  return counts.document.length === 0 ? NOTHING : `${spreadHeadline(spread)}.`;
}

/** What the verdict rests on, below it. */
export function explanationOf({ header, counts, spread, controls, resampled, untrained }: Measured): string {
  if (counts.document.length === 0) return '';
  const L = header.moeLayers.length;
  const numbers = capital(spreadNumbers(spread));
  const bands =
    spread.bands === null
      ? ''
      : `Layers are compared in bands fixed in advance: the first ${words(bandsOf(L).early.length)}, the ${bandsOf(L).middle.length} between, the last ${words(bandsOf(L).late.length)}. `;
  const control =
    untrained.length > 0
      ? 'The same texts through routers drawn at random are shown beside the trained one, since hidden states alone already tell scripts apart. '
      : '';
  const attribution = attributionSentence(spread, controls);
  return `${numbers === '' ? '' : `${numbers}. `}${attribution === '' ? '' : `${attribution} `}${bands}${control}Intervals are over texts (${resampled}), not over training runs: another seed of the same model may differ by more.`;
}

/** One line per language, with what its results have to be read beside. */
export function languageLines({ header, counts, tokens }: Measured, tables: Tables): LanguageLine[] {
  const [first, last] = [header.moeLayers[0], header.moeLayers.at(-1)];
  const cell = (table: ColumnTable, column: string) => {
    const rows = table.objects() as { layer: number; group: string; [column: string]: unknown }[];
    const found = new Map(rows.map(row => [`${row.layer} ${row.group}`, row[column] as number | null]));
    return (layer: number | undefined, code: string) => found.get(`${layer} ${code}`) ?? null;
  };
  const chosen = cell(tables.obedience, 'chosen');
  const distance = cell(tables.divergence, 'distance');
  const use = new Map((tables.fertility?.objects() ?? []).map(row => [(row as { group: string }).group, row as Use]));
  return header.languages.map(({ code, name, family, script, trainingBytes }, l) => {
    const documents = counts.language.reduce((n, language) => (language === l ? n + 1 : n), 0);
    return {
      ...{ code, name, family, script, documents, tokens: tokens[l], zeroText: trainingBytes === 0 },
      fertility: use.get(code)?.fertility ?? null,
      sharedTokens: use.get(code)?.sharedTokens ?? null,
      ownFirst: chosen(first, code),
      ownLast: chosen(last, code),
      distanceFirst: distance(first, code),
      distanceLast: distance(last, code),
    };
  });
}

/** Which of two family maps routing agrees with, in the last MoE layer; empty without maps, or where it is not known. */
export function agreementSentence({ familyMaps, header }: Measured, tables: Tables): string {
  const rows = (tables.agreement?.objects() ?? []) as {
    layer: number;
    first: number;
    second: number;
    difference: number;
    low: number | null;
    high: number | null;
  }[];
  const last = rows.at(-1);
  if (!familyMaps || !last || last.difference === null || last.low === null || last.high === null) return '';
  const [first, second] = familyMaps.names;
  const closer = last.low > 0 ? first : last.high < 0 ? second : null;
  // below 0 languages lie nearer to other families than to their own
  const none = Math.max(last.first, last.second) <= 0;
  const decided = none ? 'with neither' : closer ? `with ${closer}` : 'with neither more than with the other';
  const fixed = (value: number) => `${value < 0 ? '−' : ''}${Math.abs(value).toFixed(3)}`;
  return (
    `Family maps in layer ${header.moeLayers.at(-1)}: routing agrees ${decided} (silhouette ${first} ${fixed(last.first)}, ` +
    `${second} ${fixed(last.second)}, difference ${fixed(last.difference)}, 95 % ${fixed(last.low)} to ${fixed(last.high)}).`
  );
}
