// M16, saturation and agreement of two traces of the same documents: Sat = mean over tokens of |S ∩ S′| / k, 0…1 (OLMoE, with S′
// the routing of the last checkpoint). Chance: k / E. It compares expert ids, so it holds inside one run; experts of different
// runs are first paired one to one by the largest co-assignment counts on half of the items, and judged on the other half.
// Mean over the tokens of a document, then over documents, then over languages.
import { join } from 'node:path';
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { UserError } from '../src/errors.ts';
import { assignment } from './assignment.ts';
import type { DocumentBlock } from './block.ts';
import { blockEstimate, itemBlocks } from './item-blocks.ts';
import { readHeader } from './read/header.ts';
import { streamBlocks } from './read/stream.ts';

export interface SaturationOptions {
  /** `same`: expert ids mean the same in both traces (checkpoints of one run). `paired`: pair them first. Default `same`. */
  experts?: 'same' | 'paired';
  dropFirst?: boolean;
}

/**
 * Sat of every language and of their mean (`all`) per layer: layer, group, saturation, chance (k / E), low, high (95 % jackknife
 * over blocks of items), documents. Throws UserError where the traces are not of the same documents and tokens.
 */
export async function saturation(
  earlier: string,
  later: string,
  options: SaturationOptions = {},
): Promise<ColumnTable> {
  const headers = [earlier, later].map(directory => readHeader(join(directory, 'trace.json')));
  refuseDifferent(headers[0], headers[1], earlier, later);
  const pairing = options.experts === 'paired' ? await pairExperts(earlier, later, headers[0], options) : null;
  const overlap = overlapSums(headers[0], pairing);
  for await (const [a, b] of together(earlier, later, options)) overlap.add(a, b);
  return overlap.table();
}

/** Shares in common with expert ids of `pairing` (per layer, expert of the first trace → expert of the second); null: the same ids. */
export function overlapSums(header: TraceHeader, pairing: Int32Array[] | null) {
  const { moeLayers, languages, numExperts: E, expertsPerToken: k } = header;
  const [L, n] = [moeLayers.length, languages.length];
  const { blocks, of } = itemBlocks(header);
  const learns = learningHalf(header);
  const sum = new Float64Array(L * n * blocks);
  const documents = new Float64Array(L * n * blocks);
  return {
    add(a: DocumentBlock, b: DocumentBlock): void {
      if (pairing && learns[a.document] === 1) return;
      for (let l = 0; l < L; l++) {
        let [common, tokens] = [0, 0];
        for (let t = 0; t < a.counted.length; t++) {
          if (a.counted[t] === 0) continue;
          const start = (t * L + l) * k;
          tokens++;
          for (let i = start; i < start + k; i++) {
            if (a.expert[i] < 0) continue;
            const wanted = pairing ? pairing[l][a.expert[i]] : a.expert[i];
            for (let j = start; j < start + k; j++) if (b.expert[j] === wanted) common++;
          }
        }
        if (tokens === 0) continue;
        const cell = (l * n + a.language) * blocks + of[a.document];
        sum[cell] += common / (tokens * k);
        documents[cell]++;
      }
    },
    table(): ColumnTable {
      const ofLanguage = (l: number, language: number, without: number) => {
        let [total, number] = [0, 0];
        for (let block = 0; block < blocks; block++) {
          if (block === without) continue;
          total += sum[(l * n + language) * blocks + block];
          number += documents[(l * n + language) * blocks + block];
        }
        return { value: number > 0 ? total / number : null, number };
      };
      const ofGroup = (l: number, group: number, without: number): number | null => {
        if (group >= 0) return ofLanguage(l, group, without).value;
        const known = languages.map((_, one) => ofLanguage(l, one, without).value).filter(value => value !== null);
        return known.length > 0 ? known.reduce((x, y) => x + y, 0) / known.length : null;
      };
      const rows = moeLayers.flatMap((layer, l) =>
        [...languages.keys(), -1].map(group => {
          const value = ofGroup(l, group, -1);
          const without = Array.from({ length: blocks }, (_, block) => {
            const held = group < 0 || documents[(l * n + group) * blocks + block] > 0;
            return held ? (ofGroup(l, group, block) ?? Number.NaN) : Number.NaN;
          });
          const interval = value === null ? null : blockEstimate(value, without);
          return {
            ...{ layer, group: group >= 0 ? languages[group].code : 'all', saturation: value, chance: k / E },
            ...{ low: interval?.low ?? null, high: interval?.high ?? null },
            documents: (group >= 0 ? [group] : [...languages.keys()]).reduce(
              (total, one) => total + ofLanguage(l, one, -1).number,
              0,
            ),
          };
        }),
      );
      const names = ['layer', 'group', 'saturation', 'chance', 'low', 'high', 'documents'] as const;
      return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
    },
  };
}

/** Per layer the expert of the later trace that goes with each of the earlier one, from the learning half of the items. */
async function pairExperts(
  earlier: string,
  later: string,
  header: TraceHeader,
  options: SaturationOptions,
): Promise<Int32Array[]> {
  const { moeLayers, numExperts: E, expertsPerToken: k } = header;
  const L = moeLayers.length;
  const learns = learningHalf(header);
  const together_EE = moeLayers.map(() => new Float64Array(E * E));
  for await (const [a, b] of together(earlier, later, options)) {
    if (learns[a.document] === 0) continue;
    for (let t = 0; t < a.counted.length; t++) {
      if (a.counted[t] === 0) continue;
      for (let l = 0; l < L; l++) {
        const start = (t * L + l) * k;
        for (let i = start; i < start + k; i++) {
          for (let j = start; j < start + k; j++) {
            if (a.expert[i] >= 0 && b.expert[j] >= 0) together_EE[l][a.expert[i] * E + b.expert[j]]++;
          }
        }
      }
    }
  }
  return together_EE.map(counts => assignment(counts, E));
}

/** [documents] 1: every second item, on which experts are paired. */
function learningHalf({ documents }: TraceHeader): Uint8Array {
  const numbers = new Map<string, number>();
  return Uint8Array.from(documents, ({ item }) => {
    if (!numbers.has(item)) numbers.set(item, numbers.size);
    return numbers.get(item)! % 2;
  });
}

/** Both traces side by side, document by document. */
async function* together(
  earlier: string,
  later: string,
  { dropFirst }: SaturationOptions,
): AsyncGenerator<[DocumentBlock, DocumentBlock]> {
  const second = streamBlocks(later, { dropFirst });
  try {
    for await (const a of streamBlocks(earlier, { dropFirst })) {
      const { value: b } = await second.next();
      if (!b || b.document !== a.document || !same(a.token, b.token) || !same(a.position, b.position)) {
        throw different(earlier, later, `document ${a.document} has other tokens or is missing in one of them`);
      }
      yield [a, b];
    }
    if (!(await second.next()).done) throw different(earlier, later, 'the second has more documents');
  } finally {
    await second.return(undefined);
  }
}

const same = (a: Int32Array, b: Int32Array) => a.length === b.length && a.every((value, i) => value === b[i]);

const different = (earlier: string, later: string, what: string) =>
  new UserError(`${earlier} and ${later} cannot be compared: ${what}; trace both checkpoints on the same text.`);

function refuseDifferent(a: TraceHeader, b: TraceHeader, earlier: string, later: string): void {
  for (const key of ['numExperts', 'expertsPerToken'] as const) {
    if (a[key] !== b[key]) throw different(earlier, later, `\`${key}\` is ${a[key]} and ${b[key]}`);
  }
  if (a.moeLayers.join() !== b.moeLayers.join()) throw different(earlier, later, 'their MoE layers differ');
  const texts = ({ documents }: TraceHeader) => JSON.stringify(documents.map(({ id, language }) => [id, language]));
  if (texts(a) !== texts(b)) throw different(earlier, later, 'their documents differ');
  const codes = ({ languages }: TraceHeader) => languages.map(({ code }) => code).join();
  if (codes(a) !== codes(b)) throw different(earlier, later, 'their languages differ');
}
