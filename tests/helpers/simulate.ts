// Counts per document of a router with planted language information, layer by layer: Dirichlet routing per document.
// base_l ~ exp(N(0, ½)); language rows ∝ base · exp(strength_l · N(0,1)); shared content of an item multiplies by
// exp(content · N(0,1)); a document's experts ~ Dirichlet(concentration · row), then tokens · k slots are drawn from them.
import seedrandom from 'seedrandom';
import type { DocumentCounts } from '../../analysis/document-counts.ts';
import type { TraceHeader } from '../../routing/trace.ts';

export interface Simulated {
  languages: number;
  items: number;
  experts: number;
  k: number;
  /** Tokens per document. */
  tokens: number;
  /** Per layer: how far language rows stand apart; 0 for no language at all. */
  strengths: number[];
  /** Small: documents of one language differ much. */
  concentration: number;
  content?: number;
  /** Every layer has the first one's language rows, so that no layer truly differs from another. */
  alike?: boolean;
  /** Documents of one item in every language (default), or all apart. */
  parallel?: boolean;
  seed: string;
}

export function simulate(options: Simulated): { counts: DocumentCounts; header: TraceHeader } {
  const { languages: n, items, experts: E, strengths, tokens, k, parallel = true } = options;
  const random = seedrandom.alea(options.seed);
  const D = n * items;
  const planted = strengths.map(strength => languageRows(options, strength, random));
  const count = planted.map(rows => layerCounts(options, options.alike ? planted[0] : rows, random));
  const counts: DocumentCounts = {
    document: Int32Array.from({ length: D }, (_, d) => d),
    language: Int32Array.from({ length: D }, (_, d) => d % n),
    item: Int32Array.from({ length: D }, (_, d) => (parallel ? Math.floor(d / n) : d)),
    items: parallel ? items : D,
    tokens: new Float64Array(D).fill(tokens),
    count,
    gate: count.map(cells => cells.map(slots => slots / k)),
    softmax: count.map(cells => cells.map(slots => slots / (k * tokens))),
    dropped: { special: 0, first: 0 },
  };
  return { counts, header: simulatedHeader(n, items, E, k, strengths.length) };
}

function languageRows({ languages, experts: E }: Simulated, strength: number, random: () => number): Float64Array[] {
  const base = Float64Array.from({ length: E }, () => Math.exp(0.5 * normal(random)));
  return Array.from({ length: languages }, () => base.map(b => b * Math.exp(strength * normal(random))));
}

function layerCounts(options: Simulated, rows: Float64Array[], random: () => number): Float32Array {
  const { languages: n, items, experts: E, k, tokens, concentration, content = 0 } = options;
  const cells = new Float32Array(n * items * E);
  for (let i = 0; i < items; i++) {
    const topic = rows[0].map(() => (content > 0 ? Math.exp(content * normal(random)) : 1));
    for (let l = 0; l < n; l++) {
      const row = normalised(rows[l].map((value, e) => value * topic[e]));
      const mixture = normalised(row.map(value => gamma(concentration * value, random)));
      const at = (i * n + l) * E;
      for (let s = 0; s < tokens * k; s++) cells[at + draw(mixture, random)]++;
    }
  }
  return cells;
}

function normalised(values: Float64Array): Float64Array {
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map(value => value / sum);
}

function draw(p: Float64Array, random: () => number): number {
  let left = random();
  for (let e = 0; e < p.length - 1; e++) {
    left -= p[e];
    if (left < 0) return e;
  }
  return p.length - 1;
}

/** Box–Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Marsaglia & Tsang (2000); shapes below 1 by the power of a uniform. */
function gamma(shape: number, random: () => number): number {
  if (shape < 1) return gamma(shape + 1, random) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3;
  for (;;) {
    const x = normal(random);
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** A header of n languages × `items` documents, every layer MoE. */
export function simulatedHeader(n: number, items: number, E: number, k: number, L: number): TraceHeader {
  const code = (l: number) => `l${String(l).padStart(2, '0')}`;
  return {
    version: 2,
    run: 'simulated',
    model: 'simulated',
    routing: 'free',
    numExperts: E,
    expertsPerToken: k,
    numLayers: L,
    moeLayers: Array.from({ length: L }, (_, l) => l),
    normalised: true,
    expertNames: Array.from({ length: E }, (_, e) => `expert ${e}`),
    languages: Array.from({ length: n }, (_, l) => {
      const family = `family ${l % 3}`;
      const script = l % 2 === 0 ? 'Latn' : 'Deva';
      return { code: code(l), name: code(l), script, family, expert: -1, trainingBytes: 1 };
    }),
    documents: Array.from({ length: n * items }, (_, d) => {
      const language = code(d % n);
      const item = String(Math.floor(d / n));
      return { id: `${item}/${language}`, item, language, source: 'simulated', domain: 'simulated' };
    }),
  };
}
