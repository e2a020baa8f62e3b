// Language rows from literal numbers, and a header that fits them.
import type { LanguageRows } from '../../analysis/document-counts.ts';
import { TRACE_VERSION, type TraceHeader } from '../../routing/trace.ts';

/** Rows q[layer][language][expert]; null: a language without counted tokens, in every layer. */
export function tinyRows(q: (readonly number[] | null)[][]): LanguageRows {
  const experts = q[0].find(row => row !== null)?.length ?? 0;
  const flat = q.flat().flatMap(row => row ?? new Array<number>(experts).fill(0));
  const present = Uint8Array.from(q[0], row => (row === null ? 0 : 1));
  return { layers: q.length, languages: q[0].length, experts, q: Float64Array.from(flat), present };
}

export interface TinyLanguage {
  family?: string;
  script?: string;
  expert?: number;
}

/** Language i is called by its key; it owns expert i and is its own family unless said otherwise. */
export function tinyHeader(
  languages: Record<string, TinyLanguage>,
  numExperts: number,
  k = 1,
  layers = 1,
): TraceHeader {
  const codes = Object.keys(languages);
  return {
    version: TRACE_VERSION,
    run: 'tiny',
    model: 'by hand',
    routing: 'free',
    numExperts,
    expertsPerToken: k,
    numLayers: layers,
    moeLayers: Array.from({ length: layers }, (_, l) => l),
    normalised: true,
    expertNames: Array.from({ length: numExperts }, (_, e) => `expert ${e}`),
    languages: codes.map((code, i) => {
      const { family = code, script = 'Latn', expert = i } = languages[code];
      return { code, name: code.toUpperCase(), script, family, expert, trainingBytes: 1 };
    }),
    documents: [],
  };
}
