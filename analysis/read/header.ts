// trace.json: read, checked for everything that the measures rely on, refused in one sentence.
import { existsSync, readFileSync } from 'node:fs';
import { TRACE_VERSION, type TraceHeader } from '../../routing/trace.ts';
import { UserError } from '../../src/errors.ts';

/** How to mend a trace, at the end of every refusal. */
export const AGAIN = 'write the trace again with `moe analyze-routing`';

/** Reads and checks a header. Throws UserError naming the file, the key and the mend. */
export function readHeader(path: string): TraceHeader {
  if (!existsSync(path)) throw new UserError(`${path} is missing: this folder holds no routing trace; ${AGAIN}.`);
  let header: TraceHeader;
  try {
    header = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError(`${path} is no valid JSON (${oneLine(error)}); ${AGAIN}.`);
  }
  if (!Number.isInteger(header?.version)) throw new UserError(`${path} has no \`version\`: it is no trace; ${AGAIN}.`);
  if (header.version > TRACE_VERSION) {
    throw new UserError(
      `${path} has version ${header.version}, this program reads up to ${TRACE_VERSION}: update language-family-moe.`,
    );
  }
  const wrong = faultOf(header);
  if (wrong !== null) throw new UserError(`${path}: ${wrong}; see docs/trace.md and ${AGAIN}.`);
  return header;
}

/** The message of an error without its line breaks; what a reader of damaged bytes trips over says nothing to people. */
export function oneLine(error: unknown): string {
  if (error instanceof TypeError || error instanceof RangeError) return 'its bytes make no sense';
  return String((error as Error)?.message ?? error).replace(/\s+/g, ' ');
}

/** Two headers say the same, whatever the order of their keys. */
export function sameHeader(one: unknown, other: unknown): boolean {
  return JSON.stringify(one, sorted) === JSON.stringify(other, sorted);
}

function sorted(_: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function faultOf(header: TraceHeader): string | null {
  return shapeFault(header) ?? languageFault(header) ?? documentFault(header);
}

function shapeFault(header: TraceHeader): string | null {
  for (const key of ['run', 'model', 'routing'] as const) {
    if (typeof header[key] !== 'string') return `\`${key}\` must be text, found ${JSON.stringify(header[key])}`;
  }
  for (const key of ['numExperts', 'expertsPerToken', 'numLayers'] as const) {
    if (!(Number.isInteger(header[key]) && header[key] > 0)) return `\`${key}\` must be a positive whole number`;
  }
  for (const key of ['moeLayers', 'expertNames', 'languages', 'documents'] as const) {
    if (!Array.isArray(header[key])) return `\`${key}\` must be a list`;
  }
  const { moeLayers: layers, numLayers, numExperts, expertsPerToken } = header;
  if (header.expertNames.length !== numExperts) {
    return `${header.expertNames.length} \`expertNames\` for ${numExperts} experts`;
  }
  if (expertsPerToken > numExperts) return `\`expertsPerToken\` is ${expertsPerToken}, there are ${numExperts} experts`;
  const descends = layers.some((l, i) => !Number.isInteger(l) || l >= numLayers || l <= (layers[i - 1] ?? -1));
  if (layers.length === 0 || descends) {
    const found = JSON.stringify(layers.slice(0, 60));
    return `\`moeLayers\` must be ascending layer numbers below ${numLayers}, found ${found}`;
  }
  return null;
}

function languageFault({ languages, numExperts }: TraceHeader): string | null {
  const codes = new Set<string>();
  for (const [i, language] of languages.entries()) {
    for (const key of ['code', 'name', 'script', 'family'] as const) {
      if (typeof language?.[key] !== 'string') return `\`languages[${i}].${key}\` must be text`;
    }
    if (codes.has(language.code)) return `language ${language.code} is listed twice`;
    codes.add(language.code);
    const { expert, trainingBytes } = language;
    if (!(Number.isInteger(expert) && expert >= -1 && expert < numExperts)) {
      return `language ${language.code} has expert ${expert}, experts are 0…${numExperts - 1}`;
    }
    if (!(trainingBytes >= 0)) return `language ${language.code} has trainingBytes ${trainingBytes}`;
  }
  return null;
}

function documentFault({ languages, documents }: TraceHeader): string | null {
  const codes = new Set(languages.map(language => language.code));
  for (const [i, document] of documents.entries()) {
    for (const key of ['id', 'item', 'language', 'source', 'domain'] as const) {
      if (typeof document?.[key] !== 'string') return `\`documents[${i}].${key}\` must be text`;
    }
    if (!codes.has(document.language)) {
      return `\`documents[${i}]\` (${document.id}) has language ${document.language}, which \`languages\` does not list`;
    }
  }
  return null;
}
