// A routing trace of any size without a model, to time the analysis: languages in families, parallel items, expert tastes that
// depend on layer, family, language, document and token. Written document by document, so that memory stays small.
//   node bench/make-trace.mjs --out /tmp/trace                     50 languages × 200 items × 10 tokens × 24 layers × 64 experts × 8
//   node bench/make-trace.mjs --out DIR --languages 12 --items 50 --layers 8 --experts 12 --k 2 --softmax
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileWriter, ParquetWriter, schemaFromColumnData } from 'hyparquet-writer';
import seedrandom from 'seedrandom';

const options = {
  out: { type: 'string' },
  languages: { type: 'string', default: '50' },
  items: { type: 'string', default: '200' },
  tokens: { type: 'string', default: '10' },
  layers: { type: 'string', default: '24' },
  experts: { type: 'string', default: '64' },
  k: { type: 'string', default: '8' },
  seed: { type: 'string', default: '1' },
  softmax: { type: 'boolean', default: false },
};
const { values: asked } = parseArgs({ options });
const [languages, items, tokens, L, E, k] = ['languages', 'items', 'tokens', 'layers', 'experts', 'k'].map(name =>
  Number(asked[name]),
);
const sizes = [languages, items, tokens, L, E, k];
if (!asked.out || sizes.some(size => !(Number.isInteger(size) && size > 0)) || k > E) {
  console.error('Give --out DIR and whole numbers above 0, with no more slots (--k) than experts.');
  process.exit(2);
}

const FAMILIES = 7;
const SCRIPTS = ['Latn', 'Latn', 'Latn', 'Cyrl', 'Arab', 'Deva', 'Hani'];
const VOCABULARY = 4096;
const GROUP = 1 << 19;
const random = seedrandom.alea(asked.seed);

/** Standard normal numbers, two at a time (Box–Muller). */
let spare = null;
function normal() {
  if (spare !== null) {
    const value = spare;
    spare = null;
    return value;
  }
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  const angle = 2 * Math.PI * random();
  spare = radius * Math.sin(angle);
  return radius * Math.cos(angle);
}
const normals = (length, scale) => Float32Array.from({ length }, () => scale * normal());

const header = {
  version: 2,
  run: 'bench',
  model: `synthetic, ${L} layers of ${E} experts`,
  routing: 'free',
  numExperts: E,
  expertsPerToken: k,
  numLayers: L,
  moeLayers: Array.from({ length: L }, (_, l) => l),
  normalised: true,
  expertNames: Array.from({ length: E }, (_, e) => `expert ${e}`),
  languages: Array.from({ length: languages }, (_, l) => ({
    code: `l${String(l).padStart(2, '0')}`,
    name: `Language ${l}`,
    script: SCRIPTS[l % SCRIPTS.length],
    family: `Family ${l % FAMILIES}`,
    expert: -1,
    trainingBytes: 1000,
  })),
  documents: Array.from({ length: languages * items }, (_, d) => ({
    id: `bench/${d % items}/l${String(Math.floor(d / items)).padStart(2, '0')}`,
    item: `bench/${d % items}`,
    language: `l${String(Math.floor(d / items)).padStart(2, '0')}`,
    source: 'bench',
    domain: 'general',
  })),
};

/** How much a layer heeds language: little in the middle, most at the end. */
const heed = l => 0.3 + 1.2 * Math.max(0, (l / Math.max(L - 1, 1)) * 2 - 1) + 0.3 * Math.max(0, 1 - (4 * l) / L);
const popular = normals(L * E, 0.5);
const ofFamily = Array.from({ length: FAMILIES }, () => normals(L * E, 0.6));
const ofLanguage = Array.from({ length: languages }, () => normals(L * E, 0.4));
const ofToken = Array.from({ length: 1024 }, () => normals(E, 0.8));
/** Gumbel noise from a table: most of the time goes here. */
const gumbel = Float32Array.from({ length: 1 << 16 }, () => -Math.log(-Math.log(random() || 0.5)));

mkdirSync(asked.out, { recursive: true });
const kvMetadata = [{ key: 'moe.trace', value: JSON.stringify(header) }];
const integer = (name, data) => ({ name, data, type: 'INT32', nullable: false, encoding: 'DELTA_BINARY_PACKED' });
const number = (name, type, data) => ({ name, data, type, nullable: false });

/** A file that takes rows one by one; `columns` maps names to INT32, FLOAT or DOUBLE. */
function table(name, columns) {
  const Kind = { INT32: Int32Array, FLOAT: Float32Array, DOUBLE: Float64Array };
  const room = Object.values(columns).map(type => new Kind[type](GROUP));
  let length = 0;
  let file = null;
  const flush = () => {
    const columnData = Object.entries(columns).map(([column, type], c) => {
      const data = room[c].slice(0, length);
      return type === 'INT32' ? integer(column, data) : number(column, type, data);
    });
    const writer = () => fileWriter(join(asked.out, `${name}.parquet`));
    file ??= new ParquetWriter({ writer: writer(), schema: schemaFromColumnData({ columnData }), kvMetadata });
    file.write({ columnData, rowGroupSize: GROUP });
    length = 0;
  };
  return {
    add(...row) {
      for (let c = 0; c < row.length; c++) room[c][length] = row[c];
      if (++length === GROUP) flush();
    },
    finish() {
      if (length > 0 || file === null) flush();
      file.finish();
    },
  };
}

const ints = names => Object.fromEntries(names.map(name => [name, 'INT32']));
const slots = table('trace', {
  ...ints(['step', 'document', 'position', 'token', 'language', 'layer', 'slot', 'expert', 'special']),
  gate: 'FLOAT',
});
const perDocument = table('documents', {
  ...ints(['document', 'layer', 'expert', 'count']),
  gate: 'DOUBLE',
  first: 'INT32',
  firstGate: 'DOUBLE',
});
const softmaxes = asked.softmax
  ? table('softmax', { ...ints(['document', 'layer', 'expert']), probability: 'FLOAT' })
  : null;
const perLanguage = { count: new Float64Array(languages * L * E), gate: new Float64Array(languages * L * E) };

const base = new Float32Array(L * E);
const logit = new Float32Array(E);
const clean = new Float32Array(E);
const chosen = new Int32Array(k);
for (let document = 0; document < header.documents.length; document++) {
  const language = Math.floor(document / items);
  const taste = normals(L * E, 0.3);
  for (let l = 0; l < L; l++) {
    for (let e = 0, c = l * E; e < E; e++, c++) {
      base[c] = popular[c] + heed(l) * (ofFamily[language % FAMILIES][c] + ofLanguage[language][c]) + taste[c];
    }
  }
  const sums = { count: new Int32Array(L * E), gate: new Float64Array(L * E), mean: new Float64Array(L * E) };
  const first = { count: new Int32Array(L * E), gate: new Float64Array(L * E) };
  for (let position = 0; position < tokens; position++) {
    const shared = random() < 0.2;
    const rank = Math.floor(VOCABULARY * random() ** 3);
    const token = shared ? rank : VOCABULARY * (1 + language) + rank;
    for (let l = 0; l < L; l++) {
      const bias = ofToken[(token * 31 + l * 7) & 1023];
      let most = -1e9;
      for (let e = 0; e < E; e++) {
        clean[e] = base[l * E + e] + bias[e];
        logit[e] = clean[e] + gumbel[(random() * 65536) | 0];
        if (clean[e] > most) most = clean[e];
      }
      for (let s = 0; s < k; s++) {
        let best = 0;
        for (let e = 1; e < E; e++) if (logit[e] > logit[best]) best = e;
        chosen[s] = best;
        logit[best] = -1e9;
      }
      chosen.sort((a, b) => clean[b] - clean[a]);
      let sum = 0;
      for (let s = 0; s < k; s++) sum += Math.exp(clean[chosen[s]] - most);
      const into = position === 0 ? first : sums;
      for (let s = 0; s < k; s++) {
        const gate = Math.exp(clean[chosen[s]] - most) / sum;
        slots.add(0, document, position, token, language, l, s, chosen[s], 0, gate);
        into.count[l * E + chosen[s]]++;
        into.gate[l * E + chosen[s]] += gate;
        perLanguage.count[(language * L + l) * E + chosen[s]]++;
        perLanguage.gate[(language * L + l) * E + chosen[s]] += gate;
      }
      if (softmaxes && position > 0) {
        let whole = 0;
        for (let e = 0; e < E; e++) whole += Math.exp(clean[e] - most);
        for (let e = 0; e < E; e++) sums.mean[l * E + e] += Math.exp(clean[e] - most) / whole / (tokens - 1);
      }
    }
  }
  for (let c = 0; c < L * E; c++) {
    const [l, e] = [Math.floor(c / E), c % E];
    if (sums.count[c] + first.count[c] > 0) {
      perDocument.add(document, l, e, sums.count[c], sums.gate[c], first.count[c], first.gate[c]);
    }
    if (tokens > 1) softmaxes?.add(document, l, e, sums.mean[c]);
  }
}
slots.finish();
perDocument.finish();
softmaxes?.finish();
const counts = table('counts', { ...ints(['step', 'layer', 'language', 'expert', 'count']), gate: 'DOUBLE' });
for (const [cell, count] of perLanguage.count.entries()) {
  const language = Math.floor(cell / E / L);
  if (count > 0) counts.add(0, Math.floor(cell / E) % L, language, cell % E, count, perLanguage.gate[cell]);
}
counts.finish();
writeFileSync(join(asked.out, 'trace.json'), `${JSON.stringify(header, null, 2)}\n`);
console.log(`${asked.out}: ${header.documents.length} documents, ${languages * items * tokens * L * k} slots.`);
