// Options that several verbs share, and how their values are read.
import { Argument, InvalidArgumentError, Option } from 'commander';
import type { BackendName } from '../engine/backend.ts';

/** Written out, as the engine's own list would load the engine before it is needed. */
const BACKENDS: BackendName[] = ['auto', 'native', 'wasm', 'cpu', 'webgpu', 'tensorflow'];

export const runArgument = (): Argument => new Argument('[run]', 'run folder or checkpoint (default: the newest run)');
export const familiesOption = (): Option =>
  new Option('--families <file>', 'configuration or families file').default('configs/50lang.yaml');
/** For checkpoints of the transformers library. */
export const languagesOption = (): Option =>
  new Option('--families <file>', 'languages and text for a checkpoint that names none, e.g. configs/50lang.yaml');
export const memoryOption = (): Option =>
  new Option('--memory <size>', 'read the model layer by layer and hold no more than this, e.g. 4GB').argParser(
    memorySize,
  );
export const jsonOption = (): Option => new Option('--json', 'print one JSON value on stdout; words go to stderr');
export const backendOption = (): Option =>
  new Option('--backend <name>', 'where tensors live').choices(BACKENDS).default('auto');
export const threadsOption = (): Option =>
  new Option('--threads <n>', 'threads of the backend (default: all processors)').argParser(positiveWhole);
export const precisionOption = (): Option =>
  new Option('--precision <type>', 'of products in a forward pass on webgpu; f16 where the GPU has it')
    .choices(['f32', 'f16'])
    .default('f32');
export const weightsOption = (): Option =>
  new Option('--weights <type>', 'of the matrices; bf16: as in a checkpoint in BF16')
    .choices(['fp32', 'bf16'])
    .default('fp32');
export const presetOption = (): Option =>
  new Option('--preset <name>', 'merge a preset of the file over it (may be repeated)')
    .argParser(collect)
    .default([], 'none');
export const setOption = (): Option =>
  new Option('--set <key=value>', 'change one setting, e.g. train.learning_rate=0.002 (may be repeated)')
    .argParser(collectSetting)
    .default([], 'none');

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function collectSetting(text: string, before: [string, unknown][]): [string, unknown][] {
  const at = text.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError(`write it as key=value, for example train.steps=500.`);
  return [...before, [text.slice(0, at), readValue(text.slice(at + 1))]];
}

/** JSON where it parses (numbers, true, lists), else the text itself. */
function readValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('give a whole number of 0 or more.');
  return Number(text);
}

export function positiveWhole(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) === 0) throw new InvalidArgumentError('give a whole number of 1 or more.');
  return Number(text);
}

const UNITS: Record<string, number> = { MB: 1e6, GB: 1e9, MIB: 2 ** 20, GIB: 2 ** 30 };

/** Bytes of `4GB`, `512 MiB`, `1.5GiB`. */
export function memorySize(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(number) * UNITS[unit.toUpperCase()]);
  if (!(bytes > 0)) throw new InvalidArgumentError('give a size and its unit, MB, GB, MiB or GiB, for example 4GB.');
  return bytes;
}

export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('give a number of 0 or more.');
  return value;
}

export function signed(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('give a number.');
  return value;
}

/** Numbers of layers: `4,6-8`. */
export function layerNumbers(text: string): number[] {
  const all = text.split(',').flatMap(part => {
    const [from, to = from] =
      /^(\d+)(?:-(\d+))?$/
        .exec(part.trim())
        ?.slice(1)
        .map(n => n && Number(n)) ?? [];
    if (typeof from !== 'number' || typeof to !== 'number' || to < from)
      throw new InvalidArgumentError('give numbers and ranges with commas between them, for example 4,6-8.');
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
  return [...new Set(all)];
}

/** Whole numbers with commas between them. */
export function sizes(text: string): number[] {
  const all = text.split(',').map(Number);
  if (all.some(size => !Number.isInteger(size) || size < 1))
    throw new InvalidArgumentError('give whole numbers with commas between them, for example 512,1024.');
  return all;
}

/** Names of a list, with commas between them. */
export const namesOf =
  <Name extends string>(known: readonly Name[]) =>
  (text: string): Name[] => {
    const all = text.split(',') as Name[];
    if (all.some(name => !known.includes(name)))
      throw new InvalidArgumentError(`give one or more of ${known.join(', ')}, with commas between them.`);
    return all;
  };

/** How much of each text is routed: intervals are over texts, so many beginnings tell more than a few whole ones. */
export const longestOption = (): Option =>
  new Option('--longest <n>', 'tokens of a text at most (default: a fortieth of --tokens)').argParser(positiveWhole);
