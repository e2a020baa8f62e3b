// The effect of an intervention on held-out loss, in bits per UTF-8 byte, paired by document:
//   Δ_λ = Σ_d (nats after − nats before) / (ln 2 · Σ_d bytes),   Δ of several languages = the mean of theirs.
// Interval: basic (reflected) bootstrap over parallel items, all their documents drawn together; with fewer than 30 items the
// delete-one jackknife, Δ ± t · SE. Positive is worse.

export interface PairedDocument {
  /** Language id. */
  language: number;
  /** Documents of one item are drawn together. */
  item: string;
  source: string;
  /** Nats after − before. */
  difference: number;
  bytes: number;
}

export interface Effect {
  /** Bits per byte; null without documents. */
  value: number | null;
  /** Ends of the 95 % interval; null where there are fewer than 3 items. */
  low: number | null;
  high: number | null;
  documents: number;
  method: 'bootstrap' | 'jackknife' | 'none';
}

const LEAST_FOR_BOOTSTRAP = 30;
const LEAST_FOR_JACKKNIFE = 3;
/** Draws of which too few hold some text of the languages give no interval. */
const LEAST_DRAWS = 0.9;

/** @param random in [0, 1) */
export function effectOf(documents: readonly PairedDocument[], random: () => number, draws = 2000): Effect {
  const cells = cellsOf(documents);
  const value = meanDelta(cells, null);
  const base = { value, documents: documents.length };
  const none: Effect = { ...base, low: null, high: null, method: 'none' };
  if (value === null || cells.items < LEAST_FOR_JACKKNIFE) return none;
  if (cells.items < LEAST_FOR_BOOTSTRAP) return { ...base, ...jackknife(cells, value), method: 'jackknife' };
  const drawn: number[] = [];
  for (let draw = 0; draw < draws; draw++) {
    const weight_I = new Float64Array(cells.items);
    for (let i = 0; i < cells.items; i++) weight_I[Math.floor(random() * cells.items)]++;
    const delta = meanDelta(cells, weight_I);
    if (delta !== null) drawn.push(delta);
  }
  if (drawn.length < LEAST_DRAWS * draws) return none;
  drawn.sort((a, b) => a - b);
  const ends = { low: 2 * value - quantile(drawn, 0.975), high: 2 * value - quantile(drawn, 0.025) };
  return { ...base, ...ends, method: 'bootstrap' };
}

interface Cells {
  items: number;
  /** Per language the items of its documents, and their sums. */
  languages: { item: number; nats: number; bytes: number }[][];
}

function cellsOf(documents: readonly PairedDocument[]): Cells {
  const items = new Map<string, number>();
  const languages = new Map<number, { item: number; nats: number; bytes: number }[]>();
  for (const { language, item, difference, bytes } of documents) {
    if (!items.has(item)) items.set(item, items.size);
    if (!languages.has(language)) languages.set(language, []);
    languages.get(language)!.push({ item: items.get(item)!, nats: difference, bytes });
  }
  return { items: items.size, languages: [...languages.values()] };
}

/** Mean over the languages that have weight; null where none has. */
function meanDelta({ languages }: Cells, weight_I: Float64Array | null): number | null {
  let [sum, spoken] = [0, 0];
  for (const cells of languages) {
    let [nats, bytes] = [0, 0];
    for (const cell of cells) {
      const weight = weight_I?.[cell.item] ?? 1;
      nats += weight * cell.nats;
      bytes += weight * cell.bytes;
    }
    if (bytes === 0) continue;
    sum += nats / (Math.LN2 * bytes);
    spoken++;
  }
  return spoken > 0 ? sum / spoken : null;
}

/** Leaves each item out in turn. */
function jackknife(cells: Cells, value: number): { low: number | null; high: number | null } {
  const left = Array.from({ length: cells.items }, (_, out) => {
    const weight_I = new Float64Array(cells.items).fill(1);
    weight_I[out] = 0;
    return meanDelta(cells, weight_I);
  }).filter(delta => delta !== null);
  const n = left.length;
  if (n < LEAST_FOR_JACKKNIFE) return { low: null, high: null };
  const mean = left.reduce((sum, delta) => sum + delta, 0) / n;
  const squares = left.reduce((sum, delta) => sum + (delta - mean) ** 2, 0);
  const half = studentT975(n - 1) * Math.sqrt(((n - 1) / n) * squares);
  return { low: value - half, high: value + half };
}

/** 97.5 % point of Student's t from 2 degrees of freedom on: Hill's expansion about the normal one, which is 0.3 % off at 4 and
 *  better beyond; below that, from the table. */
export function studentT975(freedom: number): number {
  if (freedom === 2) return 4.302653;
  if (freedom === 3) return 3.182446;
  const z = 1.959964;
  const [z3, z5, z7] = [z ** 3, z ** 5, z ** 7];
  return (
    z +
    (z3 + z) / (4 * freedom) +
    (5 * z5 + 16 * z3 + 3 * z) / (96 * freedom ** 2) +
    (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * freedom ** 3)
  );
}

/** Linear between the order statistics of a sorted list. */
function quantile(sorted: readonly number[], p: number): number {
  const at = p * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}
