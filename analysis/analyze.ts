// From a trace folder to tables, figures, metrics.json and a report: the one function that the command calls.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ColumnTable } from 'arquero';
import seedrandom from 'seedrandom';
import type { Trace } from '../routing/trace.ts';
import type { View } from './document-counts.ts';
import { budget } from './figures/budget.ts';
import { type Provenance, pickLayers, zeroTextNote } from './figures/caption.ts';
import { flowPicture } from './figures/flow.ts';
import { heatmap } from './figures/heatmap.ts';
import { type Figure, percent } from './figures/svg.ts';
import { training } from './figures/training.ts';
import { flow, neighbours } from './flow.ts';
import { information } from './information.ts';
import { loadTrace } from './load.ts';
import { type LanguageNull, languageNull, withNull } from './null.ts';
import { type LanguageLine, report } from './report.ts';
import { layerRows, summary, verdict } from './summary.ts';
import { countsTable, slotsTable, stepsOf } from './table.ts';
import { trajectory } from './trajectory.ts';
import { type Averaging, usage, usageOfCounts } from './usage.ts';

/** Layers in the flow picture at most; flows between drawn layers are counted, never multiplied. */
const MOST_FLOW_LAYERS = 6;
/** Seed and effort of the permutation null; the draws shrink for wide and deep models. */
const NULL_SEED = 'language null';
const NULL_DRAWS = 200;
const NULL_WORK = 2e8;

export interface AnalyzeOptions {
  /** Leave out the first token of each document. Default true. */
  dropFirst?: boolean;
  /** Order of the experts in the flow picture; see figures/flow.ts. */
  order?: 'barycentre' | 'fixed';
}
export interface Analysis {
  /** Paths written, figures first. */
  files: string[];
  /** The object in metrics.json. */
  metrics: Record<string, unknown>;
  /** What a person should read, most important first. */
  sentences: string[];
}

/** Reads `traceDir`, writes SVG, CSV, metrics.json and report.html into `outDir`. Throws UserError on a bad trace. */
export async function analyze(traceDir: string, outDir: string, options: AnalyzeOptions = {}): Promise<Analysis> {
  const trace = await loadTrace(traceDir);
  const { metrics, figures, sentences } = study(trace, options);
  mkdirSync(outDir, { recursive: true });
  const files: string[] = [];
  const write = (name: string, content: string) => {
    files.push(join(outDir, name));
    writeFileSync(join(outDir, name), content);
  };
  for (const { name, svg } of figures) write(`${name}.svg`, svg);
  for (const { name, csv } of figures) write(`${name}.csv`, csv.endsWith('\n') ? csv : `${csv}\n`);
  write('metrics.json', `${JSON.stringify(metrics, null, 2)}\n`);
  write('report.html', report(trace.header, sentences, figures, metrics.languages as LanguageLine[]));
  return { files, metrics, sentences };
}

/** The same without files: all measures and figures of a trace. */
export function study(trace: Trace, options: AnalyzeOptions = {}) {
  const { header } = trace;
  const counts = countsTable(trace.counts, header);
  const inputs = measure(trace, counts, options);
  const { step, averaging, selection, gate, flows } = inputs;
  const source: Provenance = { header, step, ...inputs.counted };
  const drawn = pickLayers(header.moeLayers, MOST_FLOW_LAYERS);
  const drawnFlows = drawn.length === header.moeLayers.length ? flows : inputs.flowsOf(drawn);
  const curve = training(trajectory(counts, header), source);
  const figures: Figure[] = [
    flowPicture(gate, drawnFlows, source, { averaging, order: options.order }),
    heatmap(selection, source, { view: 'selection', averaging }),
    budget(withNull(information(selection, header), inputs.nulls), source, { view: 'selection', averaging }),
    ...(curve ? [curve] : []),
  ];
  const metrics: Record<string, unknown> = {
    ...summary(inputs),
    tokenWeighted: { averaging: 'tokens', layers: layerRows({ header, nulls: [], ...inputs.tokenWeighted }) },
  };
  return { metrics, figures, sentences: sentencesOf(trace, metrics) };
}

/** Usage and flow tables of the last step; from the counts alone when the trace has no slots. */
function measure(trace: Trace, counts: ColumnTable, options: AnalyzeOptions) {
  const { header, columns } = trace;
  const dropFirst = options.dropFirst ?? true;
  const slots = slotsTable(trace, { dropFirst });
  const fromSlots = slots.numRows() > 0;
  const step = stepsOf(columns).at(-1) ?? lastStep(counts);
  const ofView = (view: View, averaging: Averaging) =>
    fromSlots ? usage(slots, header, { view, averaging }) : usageOfCounts(counts, header, view, step ?? 0);
  const averaging: Averaging = fromSlots ? 'documents' : 'tokens';
  const flowsOf = (layers: number[]) => flow(trace, { dropFirst, averaging, pairs: neighbours(layers) });
  const selection = ofView('selection', averaging);
  const documents = fromSlots ? new Set(slots.array('document') as ArrayLike<number> as number[]).size : null;
  const tokens = tokensOf(selection, header.moeLayers[0]);
  const droppedFirst = fromSlots && dropFirst ? firstTokens(trace, step) : 0;
  return {
    header,
    step,
    averaging,
    selection,
    gate: ofView('gate', averaging),
    flows: flowsOf(header.moeLayers),
    flowsOf,
    counted: { tokens, documents, droppedFirst },
    nulls: fromSlots ? nullsOf(slots, trace) : [],
    tokenWeighted: { selection: ofView('selection', 'tokens'), gate: ofView('gate', 'tokens') },
  };
}

function nullsOf(slots: ColumnTable, { header }: Trace): LanguageNull[] {
  const work = header.documents.length * header.numExperts * header.moeLayers.length;
  const draws = Math.max(20, Math.min(NULL_DRAWS, Math.floor(NULL_WORK / work)));
  return languageNull(slots, header, seedrandom(NULL_SEED), draws);
}

/** Tokens at position 0, in the first MoE layer, of one step. */
function firstTokens({ header, columns }: Trace, step: number | null): number {
  const { position, slot, layer } = columns;
  let n = 0;
  for (let i = 0; i < slot.length; i++) {
    if (position[i] === 0 && slot[i] === 0 && layer[i] === header.moeLayers[0] && columns.step[i] === step) n++;
  }
  return n;
}

function lastStep(counts: ColumnTable): number | null {
  const steps = [...(counts.array('step') as ArrayLike<number> as number[])];
  return steps.length > 0 ? Math.max(...steps) : null;
}

function tokensOf(usage: ColumnTable, layer: number): number {
  const rows = usage.objects() as { layer: number; expert: number; tokens: number }[];
  return rows.filter(row => row.layer === layer && row.expert === 0).reduce((sum, row) => sum + row.tokens, 0);
}

function sentencesOf({ header }: Trace, metrics: Record<string, unknown>): string[] {
  type Layer = {
    layer: number;
    ownExpert: { chosen: number | null; uniformChosen: number };
    budget: { total: number; language: number; unused: number } | null;
    languageNull: { mean: number } | null;
  };
  const told = (metrics.layers as Layer[]).filter(({ layer }) => pickLayers(header.moeLayers, 4).includes(layer));
  const lines = told.flatMap(({ layer, ownExpert: { chosen, uniformChosen }, budget, languageNull: noise }) => {
    if (!budget) return [];
    const share = (nats: number) => percent(Math.max(nats, 0) / budget.total);
    const chance = noise ? ` (${share(noise.mean)} if languages were shuffled)` : '';
    const own =
      chosen === null
        ? ''
        : `${percent(chosen)} of tokens choose their language's own expert (${percent(uniformChosen)} by chance); `;
    return [
      `Layer ${layer}: ${own}` +
        `language decides ${share(budget.language)} of the routing budget${chance}, ${share(budget.unused)} is lost to uneven load.`,
    ];
  });
  if (lines.length === 0) lines.push('The trace holds no counted token, so there is nothing to measure.');
  return [...lines, verdict(header), zeroTextNote(header)].filter(sentence => sentence !== '');
}
