// From texts whose experts are known to a recorded trace: checks every id, names layers and languages, and says what is not known.
// Shapes: n tokens of a document, L MoE layers, E experts, k choices.
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { TRACE_VERSION, type TraceHeader, type TraceLanguage } from '../../../routing/trace.ts';
import { loadConfig } from '../../config/load.ts';
import { loadTokenizer } from '../../data/tokenizer/file.ts';
import { readableTokens } from '../../data/tokenizer/readable.ts';
import { specialIds } from '../../data/tokenizer/special.ts';
import { UserError } from '../../errors.ts';
import { type ModelFolder, readModelFolder } from '../../hub/model-folder.ts';
import type { Recorded } from '../recorded.ts';
import { emptySlots, firstContent, placeOf, type Slots } from '../slots.ts';
import { addProbabilities, type SoftmaxSums, softmaxSums } from '../softmax.ts';
import type { DocumentRow } from './documents.ts';

export interface ImportOptions {
  /** The side file that says which text is which language. */
  documents: string;
  /** Families file with names, scripts and families of the languages. */
  families?: string;
  /** Folder of the model: config.json says the shape, tokenizer.json which ids are special. */
  model?: string;
  experts?: number;
  choices?: number;
  /** Numbers of the layers with experts. */
  layers?: number[];
}

export interface ForeignDocument {
  row: DocumentRow;
  /** [n] */
  ids: Int32Array;
  /** [n · A · k] by the layers of the file, of which some may be dense. */
  expert: Int32Array;
  /** By layer of the file [n · E]; absent where nothing is known of gates. */
  logits?: Float32Array[];
}

/** What the files say themselves. */
export interface ForeignShape {
  /** Numbers that the file gives its layers; null where it only has them in order. */
  numbers: number[] | null;
  /** A: layers in the file. */
  layers: number;
  k: number;
  experts?: number;
  /** In a complaint: what was read. */
  path: string;
}

/** The folder of --model. */
export const modelOf = ({ model }: ImportOptions): ModelFolder | null =>
  model === undefined ? null : readModelFolder(model);

/** @throws UserError where the files, the options and the model contradict each other, or leave something unsaid */
export function recordedOf(documents: ForeignDocument[], shape: ForeignShape, options: ImportOptions): Recorded {
  const folder = modelOf(options);
  const experts = options.experts ?? folder?.spec.numExperts ?? shape.experts;
  if (experts === undefined)
    throw new UserError(`${shape.path} does not say how many experts there are; give --experts N, or --model DIR.`);
  const k = folder?.spec.num_experts_per_tok ?? options.choices ?? shape.k;
  if (k !== shape.k)
    throw new UserError(`${shape.path} has ${shape.k} experts per token, the model ${k}; name the model that ran.`);
  const { layers, axis } = layersOf(shape, options, folder);
  const known = tokenizerOf(options, folder);
  const languages = languagesOf(documents, options, experts);
  const index = new Map(languages.map(({ code }, i) => [code, i]));
  const slots = emptySlots(
    documents.map(({ row, ids }) => ({
      language: index.get(row.language)!,
      ids,
      special: Uint8Array.from(ids, id => Number(known?.special.has(id) ?? false)),
      from: row.from,
    })),
    { step: 0, layers, experts, k },
  );
  const withLogits = documents.every(({ logits }) => logits !== undefined);
  const softmax = withLogits ? softmaxSums(slots) : null;
  for (const [d, document] of documents.entries()) fill(slots, softmax, d, document, shape.layers, axis);
  const header: TraceHeader = {
    version: TRACE_VERSION,
    run: basename(resolve(shape.path)),
    model: options.model === undefined ? 'imported' : basename(resolve(options.model)),
    routing: 'free',
    numExperts: experts,
    expertsPerToken: k,
    numLayers: folder?.spec.num_hidden_layers ?? Math.max(...layers) + 1,
    moeLayers: layers,
    normalised: withLogits ? (folder?.spec.norm_topk_prob ?? false) : true,
    ...(!withLogits && { gates: 'absent' as const }),
    expertNames: Array.from({ length: experts }, (_, e) => `expert ${e}`),
    languages,
    documents: documents.map(({ row: { id, item, language, source, domain } }) => ({
      ...{ id, item, language, source, domain },
    })),
  };
  const vocabulary = known ? known.text([...new Set(slots.token)].sort((a, b) => a - b)) : null;
  return { header, slots, earlier: [], softmax, vocabulary };
}

/** Puts the experts of a document in their places, by falling probability where there are logits.
 *  @param inFile layers in the file @param axis which of them each MoE layer is */
function fill(
  slots: Slots,
  softmax: SoftmaxSums | null,
  d: number,
  { row, ids, expert, logits }: ForeignDocument,
  inFile: number,
  axis: number[],
): void {
  const { experts: E, k, layers } = slots;
  const first = firstContent(slots, d);
  for (let i = 0; i < ids.length; i++) {
    const n = slots.start[d] + i;
    axis.forEach((a, l) => {
      const at = (i * inFile + a) * k;
      const chosen = expert.subarray(at, at + k);
      checkChosen(chosen, E, `${row.where}: token ${i} of ${row.id}, layer ${layers[l]}`);
      const p_E = softmax && softmaxOf(logits![a].subarray(i * E, (i + 1) * E));
      const order = p_E ? chosen.toSorted((x, y) => p_E[y] - p_E[x] || x - y) : chosen;
      slots.expert.set(order, placeOf(slots, n, l));
      slots.gate.set(p_E ? Array.from(order, e => p_E[e]) : new Array(k).fill(1 / k), placeOf(slots, n, l));
      if (softmax && p_E && slots.special[n] === 0 && n !== first) addProbabilities(softmax, slots, d, l, p_E);
    });
  }
}

/** Numbers of the MoE layers, and which layer of the file each is. */
function layersOf(
  { numbers, layers: count, path }: ForeignShape,
  options: ImportOptions,
  folder: ModelFolder | null,
): { layers: number[]; axis: number[] } {
  const sparse = folder?.spec.layers.flatMap((kind, layer) => (kind === 'moe' ? [layer] : []));
  const inFile = numbers ?? Array.from({ length: count }, (_, i) => i);
  const layers = [...(options.layers ?? sparse ?? inFile)].sort((a, b) => a - b);
  if (numbers === null && layers.length === count) return { layers, axis: inFile };
  const axis = layers.map(layer => inFile.indexOf(layer));
  const missing = layers[axis.indexOf(-1)];
  if (missing === undefined) return { layers, axis };
  throw new UserError(
    `${path} has ${numbers ? `layers ${numbers.join(', ')}` : `${count} layers`}, but not layer ${missing} of the ${layers.length} that were named; say with --layers which layers have experts.`,
  );
}

function tokenizerOf({ model }: ImportOptions, folder: ModelFolder | null) {
  if (folder === null || model === undefined || !existsSync(join(model, 'tokenizer.json'))) return null;
  const tokenizer = loadTokenizer(join(model, 'tokenizer.json'));
  return {
    special: specialIds(model, tokenizer, folder.eosIds),
    text: (ids: number[]) => readableTokens(tokenizer, ids),
  };
}

/** Of a families file, in its order; else as they come in the documents. Training bytes are not known: 1. */
function languagesOf(documents: ForeignDocument[], { families }: ImportOptions, experts: number): TraceLanguage[] {
  if (families !== undefined) {
    const { map } = loadConfig(families);
    const unknown = documents.find(({ row }) => !map.languages.some(({ code }) => code === row.language));
    if (unknown)
      throw new UserError(
        `${unknown.row.where}: language "${unknown.row.language}" is not in ${families}; add it there or use one of ${map.languages.map(({ code }) => code).join(' ')}.`,
      );
    const known = map.numExperts === experts;
    return map.languages.map(({ code, name, script, family, expert }) => ({
      ...{ code, name, script, family },
      ...{ expert: known ? expert : -1, trainingBytes: 1 },
    }));
  }
  const codes = [...new Set(documents.map(({ row }) => row.language))];
  return codes.map(code => {
    const facts = documents.find(({ row }) => row.language === code)!.row.facts;
    return { code, name: code, script: '', family: 'unknown', ...facts, expert: -1, trainingBytes: 1 };
  });
}

function checkChosen(chosen: Int32Array, experts: number, where: string): void {
  chosen.forEach((expert, slot) => {
    if (expert < 0 || expert >= experts)
      throw new UserError(
        `${where}, has expert ${expert}, outside 0…${experts - 1}; give the right number with --experts.`,
      );
    if (chosen.indexOf(expert) < slot)
      throw new UserError(
        `${where}, has expert ${expert} twice; if that layer has no experts, or its routing was not captured, leave it out of --layers.`,
      );
  });
}

function softmaxOf(logits_E: Float32Array): Float32Array {
  const most = logits_E.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exp = logits_E.map(z => Math.exp(z - most));
  const sum = exp.reduce((a, b) => a + b, 0);
  return exp.map(value => value / sum);
}
