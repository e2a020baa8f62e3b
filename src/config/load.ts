// YAML file → checked, fully resolved configuration. Every complaint names file, line, value and mend.
// A configuration file may name presets (blocks merged over it); a bare families file stands for the defaults with that map.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Document as YamlDocument } from 'yaml';
import type { z } from 'zod';
import { UserError } from '../errors.ts';
import type { ModelSpec } from '../model/spec.ts';
import { checkConfig } from './check.ts';
import { type FamilyMap, type Locate, resolveMap } from './families.ts';
import { settingsOfInitial } from './initial-model.ts';
import { type Config, configSchema, type FamiliesFile, familiesSchema } from './schema.ts';
import { nearest } from './spelling.ts';

export interface Loaded {
  config: Config;
  map: FamilyMap;
}
export interface LoadOptions {
  presets?: string[];
  /** `train.learning_rate` → value, applied last. */
  overrides?: [path: string, value: unknown][];
  /** Reads what model the checkpoint `init` holds; without it, the configuration's own settings stand. */
  modelAt?: (init: string) => ModelSpec;
}

type Plain = Record<string, unknown>;
interface Source {
  file: string;
  value: unknown;
  locate: Locate;
}

/** @throws UserError naming file, line, value and mend */
export function loadConfig(asked: string, options: LoadOptions = {}): Loaded {
  const path = locateFile(asked);
  const source = readYaml(path);
  const { presets: known = {}, ...base } = asConfigBlock(source);
  let value: Plain = base;
  const presets = known as Record<string, Plain>;
  for (const name of options.presets ?? []) {
    if (!(name in presets))
      throw new UserError(
        `${source.file}: there is no preset '${name}'; the file has ${Object.keys(presets).join(', ') || 'none'}.`,
      );
    value = merge(value, presets[name]);
  }
  for (const [key, setting] of options.overrides ?? []) value = merge(value, nest(key.split('.'), setting));
  // In a bare families file the list stands one level higher than in a configuration.
  const bare = base.families === source.value;
  const inFile = (at: PropertyKey[]): PropertyKey[] => (bare && at[0] === 'families' ? at.slice(1) : at);
  const locate: Locate = at => locateWithPresets(source, options.presets ?? [], options.overrides ?? [], inFile(at));
  const parsed = check(configSchema, value, locate, inFile);
  const families = resolveFamilies(parsed.families, source.file, locate);
  const map = resolveMap(families.value, parsed.languages, families.locate, locate, parsed.shuffle_families);
  const config: Config = { ...parsed, families: families.value };
  config.data.files = config.data.files.map(file => resolve(dirname(path), file));
  if (config.tokenizer.kind === 'file') config.tokenizer.path = resolve(dirname(path), config.tokenizer.path);
  if (config.init !== null) {
    config.init = resolve(dirname(path), config.init);
    const named = new Set(Object.keys((value.model as Plain | undefined) ?? {}));
    const spec = options.modelAt?.(config.init);
    if (spec) config.model = settingsOfInitial(config.model, named, spec, config.init, locate);
  }
  checkConfig(config, map, locate);
  return { config, map };
}

function resolveFamilies(
  families: string | FamiliesFile,
  from: string,
  locate: Locate,
): { value: FamiliesFile; locate: Locate } {
  if (typeof families !== 'string') return { value: families, locate: at => locate(['families', ...at]) };
  const source = readYaml(resolve(dirname(from), families), () => `${locate(['families'])}: `);
  return { value: check(familiesSchema, source.value, source.locate), locate: source.locate };
}

/** A file whose `families` is a list is a families file: the defaults with that map. */
function asConfigBlock(source: Source): Plain {
  const value = (source.value ?? {}) as Plain;
  if (typeof value !== 'object' || Array.isArray(value))
    throw new UserError(
      `${source.file}: expected settings such as 'families:', found ${JSON.stringify(source.value)}; see configs/50lang.yaml.`,
    );
  if (Array.isArray(value.families)) return { name: value.name, families: value };
  return value;
}

/** An installed package brings its own configs/: `configs/50lang.yaml` means that one where the folder has none. */
function locateFile(path: string): string {
  if (existsSync(path) || !path.startsWith('configs/')) return path;
  const rooms = ['../..', '../../..'].map(up => fileURLToPath(new URL(`${up}/${path}`, import.meta.url)));
  return rooms.find(existsSync) ?? path;
}

function readYaml(path: string, from: () => string = () => ''): Source {
  const file = relative(process.cwd(), path).startsWith('..') ? path : relative(process.cwd(), path) || path;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : (error as Error).message;
    throw new UserError(
      `${from()}cannot read ${file}: ${why}; give the path of a configuration such as configs/50lang.yaml.`,
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const broken = document.errors[0];
  if (broken) {
    const line = lines.linePos(broken.pos[0]).line;
    throw new UserError(
      `${file} line ${line}: not valid YAML: ${broken.message.split('\n')[0]} Mend the line and run again.`,
    );
  }
  return { file, value: document.toJS(), locate: at => `${file} line ${lineOf(document, lines, at)}` };
}

/** Line of the deepest part of the path that the file really has. */
function lineOf(document: YamlDocument.Parsed, lines: LineCounter, at: PropertyKey[]): number {
  let offset = 0;
  let node: unknown = document.contents;
  for (const key of at) {
    if (isMap(node)) {
      const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === String(key));
      if (!pair) break;
      offset = (isScalar(pair.key) && pair.key.range?.[0]) || offset;
      node = pair.value;
    } else {
      const child: unknown = isSeq(node) ? node.items[Number(key)] : undefined;
      if (!isNode(child)) break;
      node = child;
      offset = child.range?.[0] ?? offset;
    }
  }
  return lines.linePos(offset).line;
}

function locateWithPresets(
  source: Source,
  presets: string[],
  overrides: [string, unknown][],
  at: PropertyKey[],
): string {
  const dotted = at.map(String).join('.');
  const override = overrides.find(([key]) => key === dotted || dotted.startsWith(`${key}.`));
  if (override) return `--set ${override[0]}=${JSON.stringify(override[1])}`;
  for (const name of [...presets].reverse()) {
    const inPreset = ((source.value as Plain).presets as Record<string, unknown>)[name];
    if (has(inPreset, at)) return source.locate(['presets', name, ...at]);
  }
  return source.locate(at);
}

function has(value: unknown, at: PropertyKey[]): boolean {
  for (const key of at) {
    if (typeof value !== 'object' || value === null || !(key in value)) return false;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return true;
}

function check<S extends z.ZodType>(
  schema: S,
  value: unknown,
  locate: Locate,
  inFile: (at: PropertyKey[]) => PropertyKey[] = at => at,
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new UserError(explain(result.error.issues[0]!, value, locate, inFile));
}

/** One sentence for one issue. A failed union is explained by its closest branch. */
function explain(
  issue: z.core.$ZodIssue,
  value: unknown,
  locate: Locate,
  inFile: (at: PropertyKey[]) => PropertyKey[],
  prefix: PropertyKey[] = [],
): string {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const deepest = issue.errors.map(branch => branch[0]!).sort((a, b) => b.path.length - a.path.length)[0]!;
    if (deepest.path.length > 0 || issue.errors.length === 1) return explain(deepest, value, locate, inFile, path);
  }
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    const guess = nearest(key, knownKeys(path));
    return `${locate([...path, key])}: unknown key '${inFile([...path, key]).join('.')}'; ${guess ? `did you mean '${guess}'?` : 'remove it.'}`;
  }
  const got = path.reduce<unknown>((v, key) => (v as Record<PropertyKey, unknown> | undefined)?.[key], value);
  const found = got === undefined ? 'it is missing' : `found ${JSON.stringify(got)}`;
  return `${locate(path)}: '${inFile(path).map(String).join('.')}' is not right (${issue.message.replace(/^Invalid input: /, '')}), ${found}; correct the value.`;
}

/** Keys that the schema knows at a path, for "did you mean". */
function knownKeys(path: PropertyKey[]): string[] {
  let schema: unknown = configSchema;
  for (const key of [...path, null]) {
    schema = unwrap(schema);
    const shape = (schema as { shape?: Record<string, unknown> }).shape;
    if (key === null) return Object.keys(shape ?? {});
    schema = shape?.[String(key)];
  }
  return [];
}

function unwrap(schema: unknown): unknown {
  let inner = schema as { def?: { innerType?: unknown } } | undefined;
  while (inner?.def?.innerType) inner = inner.def.innerType as typeof inner;
  return inner;
}

/** Deep merge of plain objects; arrays and scalars of `over` replace. */
export function merge(base: Plain, over: Plain): Plain {
  const out: Plain = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = out[key];
    const both = isPlain(old) && isPlain(value) && (!('kind' in value) || value.kind === old.kind);
    out[key] = both ? merge(old, value) : value;
  }
  return out;
}
const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const nest = (path: string[], value: unknown): Plain => ({
  [path[0]!]: path.length === 1 ? value : nest(path.slice(1), value),
});
