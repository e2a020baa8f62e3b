// `moe analyze-routing`: plain inference over held-out text, the trace of it, and pictures of who serves whom.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pc from 'picocolors';
import { analyze } from '../../analysis/analyze.ts';
import { toPng } from '../../analysis/figures/png.ts';
import { readHeader } from '../../analysis/read/header.ts';
import { saturation } from '../../analysis/saturation.ts';
import { type FamilyMaps, untrainedFolder } from '../../analysis/study/measure.ts';
import { loadConfig } from '../config/load.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { removeTrace, writeTrace } from '../trace/write.ts';
import { useBackend } from './backend.ts';
import { closeModel } from './memory.ts';
import { createOutput } from './output.ts';
import { describe, openTraced, record } from './record.ts';

interface Options {
  out?: string;
  tokens: number;
  longest?: number;
  routing?: string;
  softmax?: boolean;
  /** Also record the same model with routers drawn anew, in OUT/untrained. */
  control: boolean;
  png?: boolean;
  families?: string;
  memory?: number;
  backend: BackendName;
  threads?: number;
  trace?: string;
  /** An earlier trace of the same documents. */
  compare?: string;
  pivot?: string;
  paired?: boolean;
  json?: boolean;
}

export async function analyzeRouting(run: string | undefined, options: Options): Promise<void> {
  if (options.paired && options.compare === undefined)
    throw new UserError(
      '--paired says how to compare, but there is nothing to compare with; name a trace with --compare DIR.',
    );
  if (options.compare !== undefined) readHeader(join(options.compare, 'trace.json'));
  const out = createOutput(options.json ?? false);
  const traceDir = options.trace ?? (await trace(run, options, out.say, out.json));
  const { files, metrics, sentences } = await analyze(traceDir, options.out ?? traceDir, {
    familyMaps: familyMaps(traceDir),
    pivot: options.pivot,
  });
  if (options.compare !== undefined) {
    const compared = await compare(options.compare, traceDir, options.paired ? 'paired' : 'same');
    const file = join(options.out ?? traceDir, 'saturation.csv');
    writeFileSync(file, compared.csv);
    files.push(file);
    sentences.push(compared.sentence);
  }
  if (options.png) files.push(...drawPngs(files));
  out.say('');
  for (const sentence of sentences) out.say(sentence);
  out.say(`\n${pc.bold('Pictures')}`);
  for (const file of files.filter(name => /\.(svg|png)$/.test(name))) out.say(`  ${file}`);
  out.say(
    `Numbers:  ${files.find(name => name.endsWith('metrics.json'))}\nReport:   ${files.find(name => name.endsWith('report.html'))}`,
  );
  out.result({ trace: traceDir, files, sentences, metrics });
}

/** How much of the routing of one trace is that of another (M16). */
async function compare(earlier: string, later: string, experts: 'same' | 'paired') {
  const table = await saturation(earlier, later, { experts });
  const rows = table.objects() as { layer: number; group: string; saturation: number | null; chance: number }[];
  const all = rows.filter(row => row.group === 'all' && row.saturation !== null);
  const of = all.map(({ layer, saturation }) => `${Math.round(100 * saturation!)} % in layer ${layer}`).join(', ');
  const chance = all.length > 0 ? ` (${Math.round(100 * all[0].chance)} % by chance)` : '';
  return {
    csv: `${table.toCSV()}\n`,
    sentence: `Of the routing of ${later}, ${earlier} had already chosen ${of}${chance}.`,
  };
}

/** The paper's families and the linguistically right ones, where both know every language of the trace. */
function familyMaps(traceDir: string): FamilyMaps | undefined {
  const { languages } = readHeader(join(traceDir, 'trace.json'));
  const [apollo, glottolog] = ['apollo', 'glottolog'].map(name => {
    const { map } = loadConfig(`configs/families/${name}.yaml`);
    return new Map(map.languages.map(({ code, family }) => [code, family]));
  });
  if (!languages.every(({ code }) => apollo.has(code) && glottolog.has(code))) return undefined;
  return { names: ['apollo', 'glottolog'], maps: [apollo, glottolog] };
}

/** Routers drawn at random that the trained one is held against; one where each pass reads the model from disk. */
const UNTRAINED_ROUTERS = 5;

/** Wide enough for print: about 300 dots per inch on a page. */
const PNG_WIDTH = 2000;

/** Each SVG as a PNG beside it. */
function drawPngs(files: string[]): string[] {
  return files
    .filter(name => name.endsWith('.svg'))
    .map(svg => {
      const png = svg.replace(/svg$/, 'png');
      writeFileSync(png, toPng(readFileSync(svg, 'utf8'), PNG_WIDTH));
      return png;
    });
}

/** @returns the folder that the trace was written to */
async function trace(
  run: string | undefined,
  options: Options,
  say: (line: string) => void,
  silent: boolean,
): Promise<string> {
  await useBackend(options.backend, options);
  const traced = await openTraced(run, options, say);
  const { held } = traced;
  say(describe(traced, options));
  const dir = options.out ?? join(held.run ?? held.checkpoint, 'routing');
  writeTrace(dir, await record(traced, options, silent));
  const draws = !options.control ? 0 : options.memory === undefined ? UNTRAINED_ROUTERS : 1;
  for (let draw = 0; draw < UNTRAINED_ROUTERS; draw++) {
    const control = join(dir, untrainedFolder(draw));
    if (draw < draws) {
      const recorded = await record(traced, { ...options, softmax: false, untrainedRouter: draw }, silent);
      writeTrace(control, recorded, { rows: false });
    } else removeTrace(control); // one of another recording would be taken for its control
  }
  closeModel(held.model);
  return dir;
}
