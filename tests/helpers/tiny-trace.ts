// A trace from a literal list of tokens, for cases small enough to work out by hand.
import { type CountRow, TRACE_VERSION, type Trace } from '../../routing/trace.ts';
import { columnsOf } from './languages-fixture.ts';

export interface TinyToken {
  language: string;
  document: string;
  /** Per MoE layer the chosen [expert, gate] pairs. */
  layers: [number, number][][];
}

/** Languages are numbered as they come; language i owns expert i and is its own family unless `families` says else. */
export function tinyTrace(tokens: TinyToken[], numExperts: number, families: Record<string, string> = {}): Trace {
  const codes = [...new Set(tokens.map(token => token.language))];
  const ids = [...new Set(tokens.map(token => token.document))];
  const moeLayers = tokens[0].layers.map((_, i) => 4 - tokens[0].layers.length + i);
  const rows: number[][] = [];
  const counts: CountRow[] = [];
  const length = new Map<string, number>();
  for (const [t, { language, document, layers }] of tokens.entries()) {
    const position = length.get(document) ?? 0;
    length.set(document, position + 1);
    for (const [m, slots] of layers.entries()) {
      const sum = slots.reduce((total, [, gate]) => total + gate, 0);
      for (const [slot, [expert, gate]] of slots.entries()) {
        const [l, layer] = [codes.indexOf(language), moeLayers[m]];
        rows.push([7, ids.indexOf(document), position, 100 + t, l, layer, slot, expert, gate]);
        counts.push({ step: 7, layer, language: l, expert, count: 1, gate: sum > 0 ? gate / sum : 1 / slots.length });
      }
    }
  }
  return {
    header: {
      version: TRACE_VERSION,
      run: 'tiny',
      model: 'by hand',
      routing: 'free',
      numExperts,
      expertsPerToken: tokens[0].layers[0].length,
      numLayers: 4,
      moeLayers,
      normalised: false,
      expertNames: Array.from({ length: numExperts }, (_, e) => `expert ${e}`),
      languages: codes.map((code, i) => {
        return {
          code,
          name: code.toUpperCase(),
          script: 'Latn',
          family: families[code] ?? code,
          expert: i,
          trainingBytes: 1,
        };
      }),
      documents: ids.map(id => {
        const language = tokens.find(token => token.document === id)?.language ?? '';
        return { id, item: id.split('/')[0], language, source: 'hand', domain: 'general' };
      }),
    },
    columns: columnsOf(rows),
    counts,
  };
}
