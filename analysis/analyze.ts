// From a trace folder to tables, figures, metrics.json and a report: the one function that the command calls.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Trace } from '../routing/trace.ts';
import { report } from './report/report.ts';
import { type Measured, type MeasureOptions, measure, measureInMemory } from './study/measure.ts';
import { metricsOf } from './study/metrics.ts';
import { figuresOf, type PictureOptions, sectionsOf } from './study/pictures.ts';
import { agreementSentence, explanationOf, headlineOf, languageLines, sentencesOf, tilesOf } from './study/story.ts';
import { tablesOf } from './study/tables.ts';

export type AnalyzeOptions = MeasureOptions & PictureOptions;
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
  const { metrics, figures, tables, sentences, page } = studied(await measure(traceDir, options), options);
  mkdirSync(outDir, { recursive: true });
  const files: string[] = [];
  const write = (name: string, content: string) => {
    files.push(join(outDir, name));
    writeFileSync(join(outDir, name), content);
  };
  for (const { name, svg } of figures) write(`${name}.svg`, svg);
  for (const { name, csv } of figures) write(`${name}.csv`, csv.endsWith('\n') ? csv : `${csv}\n`);
  const drawn = new Set(figures.map(({ name }) => name));
  for (const name of TABLES) {
    const table = tables[name];
    if (table && !drawn.has(name)) write(`${name}.csv`, `${table.toCSV()}\n`);
  }
  write('metrics.json', `${JSON.stringify(metrics, null, 2)}\n`);
  write('report.html', page);
  return { files, metrics, sentences };
}

/** Tables that no figure shows whole. */
const TABLES = [
  ...(['specificity', 'exclusive', 'families', 'mantel', 'overlap', 'obedience', 'collapse', 'nodes'] as const),
  ...(['activation', 'leaning', 'purity', 'agreement', 'strata', 'itemDivergence'] as const),
  ...(['locality', 'vocabulary', 'lexical', 'fertility', 'flowInformation'] as const),
] as const;

/** The same of a trace in memory, without files. */
export async function study(trace: Trace, options: AnalyzeOptions = {}) {
  return studied(await measureInMemory(trace, options), options);
}

function studied(measured: Measured, options: AnalyzeOptions) {
  const { header, step } = measured;
  const tables = tablesOf(measured);
  const sections = sectionsOf(measured, tables, options);
  const sentences = [...sentencesOf(measured), agreementSentence(measured, tables)].filter(words => words !== '');
  const page = report({
    header,
    step,
    verdict: headlineOf(measured),
    explanation: explanationOf(measured),
    tiles: tilesOf(measured),
    sections,
    languages: languageLines(measured, tables),
    notes: sentences.slice(1),
  });
  return { metrics: metricsOf(measured, tables), figures: figuresOf(sections), tables, sentences, page };
}
