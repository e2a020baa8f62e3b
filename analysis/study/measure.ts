// From a trace folder to everything that is computed of it: one pass over the slots for the token-level measures (M12 to M15), one
// resampling whose draws all row statistics share, and the test of late spread with its controls. No file is written here.
// A trace that holds counts per language alone has usage, and nothing that needs documents.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ColumnTable } from 'arquero';
import seedrandom from 'seedrandom';
import type { CountRow, Trace, TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';
import { activationStatistic, anyActivationStatistic } from '../activation.ts';
import { heldAgainst } from '../beyond-untrained.ts';
import type { DocumentBlock } from '../block.ts';
import { collapseStatistic } from '../collapse.ts';
import { spreadStatistics } from '../depth-profiles.ts';
import { sameLanguageDistance } from '../divergence-baseline.ts';
import type { DocumentCounts, Estimate, LanguageRows, Statistic } from '../document-counts.ts';
import { entropyStatistic } from '../entropy.ts';
import { agreementStatistic, familyStatistic } from '../family-distance.ts';
import { informationStatistic } from '../language-information.ts';
import { lexical } from '../lexical.ts';
import { familyLabels } from '../linguistic.ts';
import { obedienceStatistic, purityStatistic } from '../obedience.ts';
import { distanceStatistic, meanDistanceStatistic } from '../pivot-distance.ts';
import { readCounts } from '../read/counts.ts';
import { documentCountsOf, readDocumentCounts } from '../read/document-counts.ts';
import { rowCount } from '../read/parquet.ts';
import { blocksOf, streamBlocks } from '../read/stream.ts';
import { readVocabulary } from '../read/vocabulary.ts';
import { distributions, estimates, type Resampling } from '../resample.ts';
import { languageRows } from '../rows.ts';
import { liftStatistic } from '../specificity.ts';
import { type Spread, spreadOf } from '../spread.ts';
import { type SpreadControl, spreadControls } from '../spread-controls.ts';
import { universalityStatistic } from '../universality.ts';
import { type TokenSums, tokenSums } from './token-sums.ts';

export interface MeasureOptions {
  /** Leave out the first content token of each document, whose routing is positional (attention sink). Default true. */
  dropFirst?: boolean;
  /** Code of the language that the others are compared with; default English, else the first with counted tokens. */
  pivot?: string;
  /** Bootstrap draws and permutations; fewer for wide and deep models. Default 2,000 and 499. */
  draws?: number;
  permutations?: number;
  seed?: string;
  /** Two maps of languages to families, to ask which of them routing agrees with. */
  familyMaps?: FamilyMaps;
}

/** Names of two family maps, and language code → family of each. */
export interface FamilyMaps {
  names: [string, string];
  maps: [ReadonlyMap<string, string>, ReadonlyMap<string, string>];
}

export const labelsOf = (header: TraceHeader, { maps }: FamilyMaps): [string[], string[]] => [
  familyLabels(header, maps[0]),
  familyLabels(header, maps[1]),
];

export interface Measured {
  header: TraceHeader;
  step: number | null;
  /** Counts per step, for the picture over training. */
  history: CountRow[];
  counts: DocumentCounts;
  /** Index into the header's languages. */
  pivot: number;
  selection: LanguageRows;
  gate: LanguageRows;
  /** Counted tokens of each header language. */
  tokens: Float64Array;
  estimates: Map<string, Estimate[]>;
  resampling: Resampling;
  /** How the intervals were made, in words. */
  resampled: string;
  spread: Spread;
  controls: SpreadControl[];
  /** Rows of the same texts through routers drawn at random, one each, where they were traced. */
  untrained: LanguageRows[];
  /** [L · n] distance of two halves of a language's own texts. */
  baseline: Float64Array;
  familyMaps: FamilyMaps | null;
  /** Text by token id, as far as the trace tells. */
  vocabulary: Map<number, string>;
  /** Only counts per language were traced: no documents, no intervals. */
  pooled: boolean;
  /** Null for a trace without slots. */
  sums: TokenSums | null;
  lexical: ColumnTable | null;
}

/** Folders of the traces of untrained routers, inside the trace's: `untrained`, `untrained-1`, `untrained-2` … */
export const untrainedFolder = (draw: number): string => (draw === 0 ? 'untrained' : `untrained-${draw}`);
const SEED = 'routing analysis';
/** Draws of the lexical nulls, each a pass over all slots. */
const LEXICAL_DRAWS = 20;
/** Multiply-adds per draw (documents × layers × experts) times draws, at most. */
const MOST_WORK = 1e10;

/** What is measured: the trace itself, its document counts, and the blocks of its slots where it has slots. */
interface Input {
  header: TraceHeader;
  counts: DocumentCounts;
  history: CountRow[];
  blocks: AsyncIterable<DocumentBlock> | Iterable<DocumentBlock> | null;
  untrained: { header: TraceHeader; counts: DocumentCounts }[];
  vocabulary: Map<number, string>;
}

/** Reads and computes. Throws UserError on a trace that contradicts itself. */
export async function measure(directory: string, options: MeasureOptions = {}): Promise<Measured> {
  const { dropFirst = true } = options;
  const { header, counts } = await readDocumentCounts(directory, { dropFirst });
  const history = readCounts(directory, header);
  const untrained: Input['untrained'] = [];
  for (let draw = 0; existsSync(join(directory, untrainedFolder(draw), 'trace.json')); draw++) {
    untrained.push(await readDocumentCounts(join(directory, untrainedFolder(draw)), { dropFirst }));
  }
  const hasSlots = rowCount(join(directory, 'trace.parquet')) > 0;
  const blocks = hasSlots ? streamBlocks(directory, { dropFirst, against: counts }) : null;
  const vocabulary = readVocabulary(directory);
  return measured({ header, counts, history, blocks, untrained, vocabulary }, options);
}

/** The same of a trace in memory. */
export function measureInMemory(trace: Trace, options: MeasureOptions = {}): Promise<Measured> {
  const { dropFirst = true } = options;
  const counts = documentCountsOf(trace, { dropFirst });
  const blocks = trace.columns.slot.length > 0 ? blocksOf(trace, { dropFirst }) : null;
  return measured(
    {
      header: trace.header,
      counts,
      history: trace.counts,
      blocks,
      untrained: [],
      vocabulary: trace.vocabulary ?? new Map(),
    },
    options,
  );
}

async function measured(input: Input, options: MeasureOptions): Promise<Measured> {
  const { header, history } = input;
  const { seed = SEED } = options;
  const step = history.reduce<number | null>((last, row) => (last === null || row.step > last ? row.step : last), null);
  const counts = input.counts.document.length > 0 ? input.counts : pooledCounts(header, history, step);
  const sums = input.blocks === null ? null : await tokenSums(input.blocks, header);
  const random = seedrandom(`${seed} lexical`);
  const lexicalTable = sums ? lexical(sums.log, header, { random, draws: LEXICAL_DRAWS }) : null;
  const tokens = tokensOf(counts, header);
  const pivot = pivotOf(header, tokens, options.pivot);
  const effort = effortOf(counts, header, options);
  const statistics = statisticsOf(header, pivot, tokens, options.familyMaps);
  const resampling = distributions(counts, header, statistics, { view: 'selection', seed, ...effort });
  const untrained = input.untrained.filter(one => sameShape(one.header, header)).map(one => one.counts);
  const untrainedRows = untrained.map(one => languageRows(one, 'selection', 'documents', header));
  const spread = heldAgainst(spreadOf(resampling, header), untrainedRows);
  const controlled = {
    untrained: untrained.at(0),
    conditional: (lexicalTable?.array('conditionalExcess') ?? undefined) as (number | null)[] | undefined,
  };
  return {
    ...{ header, step, history, counts, pivot, tokens, sums, resampling, spread },
    pooled: input.counts.document.length === 0,
    selection: languageRows(counts, 'selection', 'documents', header),
    gate: languageRows(counts, 'gate', 'documents', header),
    estimates: new Map(
      statistics.map(s => [s.name, estimates(s, resampling.of.get(s.name)!, resampling.reason)] as const),
    ),
    resampled: wordsOf(resampling, effort),
    controls: spread.contrasts ? spreadControls(counts, header, resampling, { seed, ...effort }, controlled) : [],
    untrained: untrainedRows,
    lexical: lexicalTable,
    familyMaps: options.familyMaps ?? null,
    vocabulary: input.vocabulary,
    baseline: sameLanguageDistance(counts, header, { view: 'selection', seed }),
  };
}

const sameShape = (a: TraceHeader, b: TraceHeader): boolean =>
  a.numExperts === b.numExperts &&
  a.moeLayers.join() === b.moeLayers.join() &&
  a.languages.length === b.languages.length;

/** A trace that knows counts alone: each language one document, so that there is usage and nothing can be resampled. */
function pooledCounts(header: TraceHeader, history: CountRow[], step: number | null): DocumentCounts {
  const { languages, moeLayers, numExperts: E } = header;
  const cells = () => moeLayers.map(() => new Float32Array(languages.length * E));
  const [count, gate] = [cells(), cells()];
  for (const row of history) {
    if (row.step !== step) continue;
    const layer = moeLayers.indexOf(row.layer);
    count[layer][row.language * E + row.expert] += row.count;
    gate[layer][row.language * E + row.expert] += row.gate;
  }
  const tokens = Float64Array.from(languages, (_, l) =>
    gate[0].subarray(l * E, (l + 1) * E).reduce((a, b) => a + b, 0),
  );
  const present = Int32Array.from(languages.keys()).filter(l => Math.round(tokens[l]) > 0);
  const kept = (mass: Float32Array) =>
    Float32Array.from({ length: present.length * E }, (_, i) => mass[present[Math.floor(i / E)] * E + (i % E)]);
  return {
    ...{ document: present, language: present, item: Int32Array.from(present.keys()), items: present.length },
    tokens: Float64Array.from(present, l => Math.round(tokens[l])),
    ...{ count: count.map(kept), gate: gate.map(kept), softmax: null, dropped: { special: 0, first: 0 } },
  };
}

function statisticsOf(
  header: TraceHeader,
  pivot: number,
  tokens: Float64Array,
  maps: FamilyMaps | undefined,
): Statistic[] {
  const { code } = header.languages[pivot];
  const labels = familyLabels(header);
  return [
    ...spreadStatistics,
    informationStatistic,
    entropyStatistic,
    collapseStatistic(pivot),
    distanceStatistic(pivot),
    meanDistanceStatistic(pivot),
    obedienceStatistic(header, 'chosen'),
    universalityStatistic,
    activationStatistic(header, code),
    anyActivationStatistic(header, code),
    purityStatistic(labels),
    // a draw of these costs all pairs of languages
    { ...familyStatistic(labels), interval: 'jackknife' },
    ...(maps ? [{ ...agreementStatistic(...labelsOf(header, maps)), interval: 'jackknife' as const }] : []),
    liftStatistic(header.expertsPerToken, tokens),
  ];
}

function tokensOf({ language, tokens }: DocumentCounts, header: TraceHeader): Float64Array {
  const sums = new Float64Array(header.languages.length);
  for (let d = 0; d < language.length; d++) sums[language[d]] += tokens[d];
  return sums;
}

function pivotOf({ languages }: TraceHeader, tokens: Float64Array, wanted?: string): number {
  const named = languages.findIndex(({ code }, l) => code === (wanted ?? 'en') && tokens[l] > 0);
  if (named >= 0) return named;
  const counted = languages.filter((_, l) => tokens[l] > 0).map(({ code }) => code);
  if (wanted !== undefined) {
    throw new UserError(
      `--pivot ${wanted}: no token of that language was counted; choose one of ${counted.join(', ')}.`,
    );
  }
  return Math.max(
    0,
    tokens.findIndex(n => n > 0),
  );
}

/** Draws that a laptop makes in about a quarter of a minute, at least 200. */
function effortOf(counts: DocumentCounts, header: TraceHeader, { draws = 2000, permutations = 499 }: MeasureOptions) {
  const work = counts.document.length * header.moeLayers.length * header.numExperts;
  const share = Math.min(1, MOST_WORK / Math.max(1, work * (draws + permutations)));
  const fewer = (n: number) => Math.min(n, Math.max(200, Math.floor(n * share)));
  return { draws: fewer(draws), permutations: fewer(permutations) };
}

function wordsOf({ units, reason }: Resampling, { draws }: { draws: number }): string {
  const what = units.kind === 'items' ? 'parallel items' : 'documents of each language';
  const many = (n: number) => n.toLocaleString('en-US');
  return reason ?? `${many(draws)} bootstrap draws over ${many(units.typical)} ${what}`;
}
