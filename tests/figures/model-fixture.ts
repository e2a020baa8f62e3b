// Tables of a pretend model at three sizes, made without measuring anything: what the figures are given, with
// realistic shape. Early layers share experts, late layers part by family and then by language; wide models have two
// dead experts per layer. From one seeded usage table follow universality, flows, co-activation; interventions and a
// document stand beside them.
import { type ColumnTable, table } from 'arquero';
import seedrandom from 'seedrandom';
import type { Provenance } from '../../analysis/figures/caption.ts';
import { familiesOf } from '../../analysis/table.ts';
import { usageTable } from '../../analysis/usage.ts';
import type { TraceHeader, TraceLanguage } from '../../routing/trace.ts';
import { TRACE_VERSION } from '../../routing/trace.ts';
import { languagesFixture } from '../helpers/languages-fixture.ts';

export interface Size {
  name: string;
  languages: number;
  layers: number;
  experts: number;
  k: number;
}
export const SIZES: Size[] = [
  { name: 'small', languages: 12, layers: 6, experts: 12, k: 2 },
  { name: 'middle', languages: 50, layers: 24, experts: 64, k: 8 },
  { name: 'large', languages: 50, layers: 48, experts: 128, k: 8 },
];
const TWELVE = ['zh', 'ja', 'ko', 'th', 'vi', 'en', 'es', 'hi', 'ar', 'he', 'sw', 'ha'];

export interface ModelFixture {
  header: TraceHeader;
  source: Provenance;
  usage: ColumnTable;
  universality: ColumnTable;
  /** Between the given layers; each language's mass on its strongest experts. */
  flows: (layers: number[]) => ColumnTable;
  coactivation: (layers: number[]) => ColumnTable;
  interventions: ColumnTable;
  /** The document's tokens, top-1 expert per layer: position, text, layer, expert. */
  document: (tokens: number) => ColumnTable;
}

export function modelFixture(size: Size, seed = 'model'): ModelFixture {
  const random = seedrandom(`${seed} ${size.name}`);
  const header = headerOf(size);
  const q = shares(header, random);
  return {
    header,
    source: { header, step: null, tokens: size.languages * 2000, documents: size.languages * 200 },
    usage: usageOf(header, q),
    universality: universalityOf(header, q),
    flows: layers => flowsOf(header, q, layers),
    coactivation: layers => coactivationOf(header, q, layers, seedrandom(`${seed} pairs`)),
    interventions: interventionsOf(header, seedrandom(`${seed} interventions`)),
    document: tokens => documentOf(header, q, tokens, seedrandom(`${seed} document`)),
  };
}

export function headerOf({ languages: n, layers, experts, k }: Size): TraceHeader {
  const chosen = n === 12 ? TWELVE.map(code => languagesFixture.find(l => l.code === code)!) : languagesFixture;
  const own = experts === n;
  const languages: TraceLanguage[] = chosen.map((language, i) => ({ ...language, expert: own ? i : -1 }));
  const expertNames = Array.from({ length: experts }, (_, e) => (own ? languages[e].name : `expert ${e}`));
  return {
    version: TRACE_VERSION,
    run: `${n} × ${layers} × ${experts}`,
    model: 'a pretend model',
    routing: 'free',
    numExperts: experts,
    expertsPerToken: k,
    numLayers: layers,
    moeLayers: Array.from({ length: layers }, (_, l) => l),
    normalised: true,
    expertNames,
    languages,
    documents: [],
  };
}

/** q[layer][language][expert], each row summing to 1; a language without text has no row. */
type Shares = (Float64Array | null)[][];

function shares({ languages, numExperts: E, moeLayers, ...header }: TraceHeader, random: () => number): Shares {
  const families = familiesOf({ languages, numExperts: E, moeLayers, ...header });
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return moeLayers.map((_, l) => {
    const depth = moeLayers.length > 1 ? l / (moeLayers.length - 1) : 1;
    const popular = Array.from({ length: E }, () => 0.9 * normal());
    const byFamily = families.map(() => Array.from({ length: E }, () => (0.4 + 1.4 * depth) * normal()));
    const dead = E >= 64 ? [(7 * l) % E, (7 * l + 20) % E] : [];
    return languages.map(({ family, expert, trainingBytes }) => {
      if (trainingBytes === 0) return null;
      const weight = Float64Array.from({ length: E }, (_, e) => {
        const own = e === expert ? 2.2 * depth : 0;
        return Math.exp(popular[e] + byFamily[families.indexOf(family)][e] + (0.2 + 0.6 * depth) * normal() + own);
      });
      for (const e of dead) weight[e] = 0;
      const sum = weight.reduce((a, b) => a + b, 0);
      return weight.map(w => w / sum);
    });
  });
}

function usageOf({ moeLayers, languages, numExperts: E, expertsPerToken: k }: TraceHeader, q: Shares): ColumnTable {
  return usageTable(
    moeLayers.flatMap((layer, l) =>
      languages.flatMap(({ code }, i) =>
        Array.from({ length: E }, (_, expert) => {
          const share = q[l][i]?.[expert] ?? null;
          const tokenShare = share === null ? null : Math.min(1, k * share);
          const counted = share === null ? 0 : 1;
          return { layer, group: code, expert, share, tokenShare, tokens: 2000 * counted, documents: 200 * counted };
        }),
      ),
    ),
  );
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

function universalityOf(header: TraceHeader, q: Shares): ColumnTable {
  const { moeLayers, languages, numExperts: E } = header;
  const families = familiesOf(header);
  const rows = moeLayers.flatMap((layer, l) =>
    Array.from({ length: E }, (_, expert) => {
      const present = languages.flatMap(({ family }, i) => {
        const row = q[l][i];
        return row === null ? [] : [{ family, share: row[expert] }];
      });
      const load = mean(present.map(({ share }) => share));
      const sum = load * present.length;
      const entropy = present.reduce((h, { share: a }) => h - (a > 0 ? (a / sum) * Math.log(a / sum) : 0), 0);
      const lifts = families.map(name => {
        const inside = present.filter(p => p.family === name).map(p => p.share);
        const outside = present.filter(p => p.family !== name).map(p => p.share);
        return inside.length > 0 ? Math.log2(mean(inside) / mean(outside)) : -Infinity;
      });
      const lift = Math.max(...lifts);
      const dead = load === 0;
      const universality = dead ? null : entropy / Math.log(present.length);
      const named = { family: dead ? null : families[lifts.indexOf(lift)], lift: dead ? null : lift };
      return {
        layer,
        expert,
        universality,
        load: header.expertsPerToken * load,
        overlap: dead ? null : 0.5,
        score: dead ? null : 1,
        ...named,
      };
    }),
  );
  return tableOf(rows, ['layer', 'expert', 'universality', 'load', 'overlap', 'score', 'family', 'lift']);
}

/** Experts a language's flow is kept on, so that tables of wide models stay small. */
const STRONGEST = 14;

function flowsOf({ moeLayers, languages }: TraceHeader, q: Shares, layers: number[]): ColumnTable {
  const strongest = (row: Float64Array) => {
    const kept = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, STRONGEST);
    const sum = kept.reduce((total, e) => total + row[e], 0);
    return kept.map(expert => ({ expert, share: row[expert] / sum }));
  };
  const rows = layers.slice(1).flatMap((to, i) =>
    languages.flatMap(({ code }, l) => {
      const [a, b] = [q[moeLayers.indexOf(layers[i])][l], q[moeLayers.indexOf(to)][l]];
      if (a === null || b === null) return [];
      const [left, right] = [strongest(a), strongest(b)];
      // rank goes to rank more often than the next layer's load asks for
      const cells = left.flatMap(({ expert: source, share }, r) =>
        right.map(({ expert: target, share: next }, s) => {
          const straight = r === s ? 0.5 * Math.min(share, next) : 0;
          return { from: layers[i], to, group: code, source, target, flow: straight + 0.5 * share * next };
        }),
      );
      const total = cells.reduce((sum, { flow }) => sum + flow, 0);
      return cells.map(cell => ({ ...cell, flow: cell.flow / total }));
    }),
  );
  return tableOf(rows, ['from', 'to', 'group', 'source', 'target', 'flow']);
}

function coactivationOf(
  { numExperts: E, expertsPerToken: k, moeLayers }: TraceHeader,
  q: Shares,
  layers: number[],
  random: () => number,
): ColumnTable {
  const rows = layers.flatMap(layer => {
    const present = q[moeLayers.indexOf(layer)].filter(row => row !== null);
    const load = Array.from({ length: E }, (_, e) => Math.min(1, k * mean(present.map(row => row[e]))));
    const alive = load.flatMap((a, e) => (a > 0 ? [e] : []));
    const team = load.map(() => Math.floor(6 * random()));
    return alive.flatMap((a, i) =>
      alive.slice(i + 1).flatMap(b => {
        const noise = random() + random() - 1;
        const lift = random() < 0.03 ? 0 : 2 ** ((team[a] === team[b] ? 1.6 : -0.5) + 1.2 * noise);
        const together = lift * load[a] * load[b];
        const logLift = Math.log2((20_000 * together + 0.5) / (20_000 * load[a] * load[b] + 0.5));
        const both = { layer, together, lift, logLift };
        return [
          { ...both, a, b, conditional: together / load[a] },
          { ...both, a: b, b: a, conditional: together / load[b] },
        ];
      }),
    );
  });
  return tableOf(rows, ['layer', 'a', 'b', 'together', 'conditional', 'lift', 'logLift']);
}

function interventionsOf(header: TraceHeader, random: () => number): ColumnTable {
  const families = familiesOf(header);
  const columns = [...families.map(name => `ablate ${name}`), 'steer to English', 'prune 25 %', 'prune 50 %'];
  const noise = () => random() + random() - 1;
  const rows = columns.flatMap((column, c) =>
    header.languages.flatMap(({ code, family, trainingBytes }) => {
      if (trainingBytes === 0) return [];
      const target = column === `ablate ${family}`;
      const general = c === families.length ? -0.03 : c > families.length ? 0.04 * (c - families.length) ** 2 : 0.01;
      const value = (target ? 0.3 : general) + (target ? 0.1 : 0.02) * noise();
      const width = 0.01 + 0.01 * random();
      const chance = 0.02 + 0.01 * random();
      const band = { nullLow: 0.005 - chance, nullHigh: 0.005 + chance };
      return [{ row: code, column, value, low: value - width, high: value + width, ...band }];
    }),
  );
  return tableOf(rows, ['row', 'column', 'value', 'low', 'high', 'nullLow', 'nullHigh']);
}

const WORDS =
  'Every person has the right to free education , at least in the ele mentary and funda mental stages . ' +
  'Ele mentary education shall be compul sory ; techn ical and prof ession al education ' +
  'shall be made gener ally avail able .';

function documentOf({ languages, moeLayers, numExperts: E }: TraceHeader, q: Shares, n: number, random: () => number) {
  const english = languages.findIndex(({ code }) => code === 'en');
  const words = WORDS.split(' ').map((word, i) => (i > 0 && random() < 0.85 ? ` ${word}` : word));
  const rows = Array.from({ length: n }, (_, position) =>
    moeLayers.map((layer, l) => {
      const score = (e: number) => Math.log(q[l][english]![e] || 1e-9) - Math.log(-Math.log(random() || 0.5));
      const scores = Array.from({ length: E }, (_, e) => score(e));
      return { position, text: words[position % words.length], layer, expert: scores.indexOf(Math.max(...scores)) };
    }),
  ).flat();
  return tableOf(rows, ['position', 'text', 'layer', 'expert']);
}

/** A table with its columns in order, also when it has no rows. */
export function tableOf<Row extends object>(rows: Row[], names: (keyof Row & string)[]): ColumnTable {
  return table(Object.fromEntries(names.map(name => [name, rows.map(row => row[name])])));
}
