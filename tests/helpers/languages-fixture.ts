// The 50 languages and 7 families of ApolloMoE's map (sizes 1/3/3/5/27/4/7), and a seeded synthetic trace over them:
// MoE in the last 2 of 24 layers, k = 2, own-expert pull growing with the step and from one layer to the next.
import seedrandom from 'seedrandom';
import type { CountRow, Trace, TraceDocument, TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { TRACE_VERSION } from '../../routing/trace.ts';

const FAMILIES: [string, string][] = [
  ['Sino-Tibetan', 'zh Chinese'],
  ['Altaic', 'ko Korean, ja Japanese, mn Mongolian'],
  ['Australasian', 'th Thai, vi Vietnamese, lo Lao'],
  ['Austronesian', 'mg Malagasy, ceb Cebuano, su Sundanese, ilo Ilocano, doi Dogri'],
  [
    'Indo-European',
    'en English, de German, pt Portuguese, es Spanish, fr French, ru Russian, hi Hindi, it Italian, hr Croatian, ' +
      'gl Galician, cs Czech, co Corsican, lb Luxembourgish, la Latin, uk Ukrainian, bs Bosnian, bg Bulgarian, ' +
      'eo Esperanto, mai Maithili, sr Serbian, sq Albanian, sk Slovak, da Danish, sa Sanskrit, no Norwegian, ' +
      'gn Guarani, gd Scottish Gaelic',
  ],
  ['Afro-Asian', 'ar Arabic, ckb Sorani Kurdish, mt Maltese, he Hebrew'],
  ['Kongolese', 'ln Lingala, bm Bambara, sw Swahili, nso Sepedi, ig Igbo, rw Kinyarwanda, ha Hausa'],
];
export const FAMILY_NAMES = FAMILIES.map(([family]) => family);
const ZERO_TEXT = ['doi', 'ckb'];

export const languagesFixture: TraceLanguage[] = FAMILIES.flatMap(([family, members], expert) =>
  members.split(', ').map(member => {
    const [code, ...words] = member.split(' ');
    const trainingBytes = ZERO_TEXT.includes(code) ? 0 : 20_000;
    return { code, name: words.join(' '), script: 'Latn', family, expert, trainingBytes };
  }),
);

export interface SyntheticOptions {
  seed?: string;
  documents?: number;
  tokens?: number;
  steps?: number[];
  moeLayers?: number[];
  k?: number;
  /** Own-expert pull on the logit at the last step in the last layer. */
  pull?: number;
}

/** A trace of a pretend model. Slots of the last step; counts of every step. Languages without text have no document. */
export function syntheticTrace(options: SyntheticOptions = {}): Trace {
  const { seed = 'trace', documents = 3, tokens = 24, steps = [0, 100, 200, 300, 400], k = 2, pull = 2.6 } = options;
  const { moeLayers = [22, 23] } = options;
  const random = seedrandom(seed);
  const E = FAMILIES.length;
  const header = headerFixture(documents, moeLayers, k);
  const taste = languagesFixture.map(() => moeLayers.map(() => Array.from({ length: E }, () => 1.2 * random() - 0.6)));
  const rows: number[][] = [];
  const counts = new Map<string, CountRow>();
  for (const [s, step] of steps.entries()) {
    for (const [d, document] of header.documents.entries()) {
      const l = languagesFixture.findIndex(language => language.code === document.language);
      for (let position = 0; position < tokens; position++) {
        const token = Math.floor(random() * 4096);
        for (const [m, layer] of moeLayers.entries()) {
          const strength = (pull * s * (m + 1)) / (Math.max(steps.length - 1, 1) * moeLayers.length);
          const logit = taste[l][m].map(
            (t, e) => t + gumbel(random) + (e === languagesFixture[l].expert ? strength : 0),
          );
          const chosen = topK(softmax(logit), k);
          const sum = chosen.reduce((total, { p }) => total + p, 0);
          for (const [slot, { e, p }] of chosen.entries()) {
            if (step === steps.at(-1)) rows.push([step, d, position, token, l, layer, slot, e, p / sum]);
            const key = `${step} ${layer} ${l} ${e}`;
            const row = counts.get(key) ?? { step, layer, language: l, expert: e, count: 0, gate: 0 };
            counts.set(key, { ...row, count: row.count + 1, gate: row.gate + p / sum });
          }
        }
      }
    }
  }
  return { header, columns: columnsOf(rows), counts: [...counts.values()] };
}

/** Columns from literal rows [step, document, position, token, language, layer, slot, expert, gate]. */
export function columnsOf(rows: number[][]): Trace['columns'] {
  const column = (c: number) => Int32Array.from(rows, row => row[c]);
  const [step, document, position, token, language, layer, slot, expert] = [0, 1, 2, 3, 4, 5, 6, 7].map(column);
  const special = new Int32Array(rows.length);
  const gate = Float32Array.from(rows, row => row[8]);
  return { step, document, position, token, language, layer, slot, expert, gate, special };
}

export function headerFixture(documents: number, moeLayers = [22, 23], k = 2): TraceHeader {
  const list: TraceDocument[] = [];
  for (const { code, trainingBytes } of languagesFixture) {
    for (let i = 0; i < documents && trainingBytes > 0; i++) {
      list.push({
        id: `synthetic/${i}/${code}`,
        item: `synthetic/${i}`,
        language: code,
        source: 'synthetic',
        domain: 'general',
      });
    }
  }
  return {
    version: TRACE_VERSION,
    run: 'synthetic',
    model: 'a pretend model',
    routing: 'free',
    numExperts: FAMILIES.length,
    expertsPerToken: k,
    numLayers: 24,
    moeLayers,
    normalised: true,
    expertNames: FAMILY_NAMES,
    languages: languagesFixture,
    documents: list,
  };
}

const gumbel = (random: () => number) => -Math.log(-Math.log(random() || 0.5));
function softmax(logit: number[]): number[] {
  const weight = logit.map(z => Math.exp(z - Math.max(...logit)));
  const sum = weight.reduce((a, b) => a + b, 0);
  return weight.map(w => w / sum);
}
const topK = (p: number[], k: number) =>
  p
    .map((value, e) => ({ e, p: value }))
    .sort((a, b) => b.p - a.p || a.e - b.e)
    .slice(0, k);
