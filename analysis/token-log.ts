// What the measures on token identity need of every counted token: its id, the next one, its document, its experts. It is kept
// because neither which ids are frequent enough nor a permutation can be known before the end. L · k bytes per token
// (two each above 255 experts), 20 MB for 100,000 tokens × 24 layers × 8.
import type { TraceHeader } from '../routing/trace.ts';
import type { Collector, DocumentBlock } from './block.ts';

export interface TokenLog {
  /** N counted tokens, in the order of the documents. */
  tokens: number;
  /** [N] vocabulary id, and that of the token after it in the document, counted or not; −1 where there is none. */
  token: Int32Array;
  next: Int32Array;
  /** [N] index of the document and its language. */
  document: Int32Array;
  language: Int32Array;
  /** [N · L · k] expert; `none` where a slot was dropped. */
  expert: Uint8Array | Uint16Array;
  none: number;
}

export function tokenLog(header: TraceHeader): Collector<TokenLog> {
  const slots = header.moeLayers.length * header.expertsPerToken;
  const wide = header.numExperts > 255;
  const none = wide ? 65535 : 255;
  let room = 1 << 12;
  const integers = { token: new Int32Array(room), next: new Int32Array(room) };
  const places = { document: new Int32Array(room), language: new Int32Array(room) };
  const columns: Record<string, Int32Array> = { ...integers, ...places };
  let expert = wide ? new Uint16Array(room * slots) : new Uint8Array(room * slots);
  let n = 0;
  const grow = (needed: number) => {
    while (room < needed) room *= 2;
    for (const name of Object.keys(columns)) {
      const larger = new Int32Array(room);
      larger.set(columns[name]);
      columns[name] = larger;
    }
    const larger = wide ? new Uint16Array(room * slots) : new Uint8Array(room * slots);
    larger.set(expert);
    expert = larger;
  };
  return {
    add(block: DocumentBlock) {
      if (n + block.counted.length > room) grow(n + block.counted.length);
      for (let t = 0; t < block.counted.length; t++) {
        if (block.counted[t] === 0) continue;
        const follows = block.position[t + 1] === block.position[t] + 1;
        columns.token[n] = block.token[t];
        columns.next[n] = follows ? block.token[t + 1] : -1;
        columns.document[n] = block.document;
        columns.language[n] = block.language;
        for (let s = 0; s < slots; s++) {
          const e = block.expert[t * slots + s];
          expert[n * slots + s] = e < 0 ? none : e;
        }
        n++;
      }
    },
    finish: () => ({
      tokens: n,
      token: columns.token.subarray(0, n),
      next: columns.next.subarray(0, n),
      document: columns.document.subarray(0, n),
      language: columns.language.subarray(0, n),
      expert: expert.subarray(0, n * slots),
      none,
    }),
  };
}

/** Tokens grouped by type: those of type i are order[start[i]] … order[start[i + 1] − 1], documents ascending. */
export interface TypeRuns {
  order: Int32Array;
  start: Int32Array;
}

/** Groups the tokens whose type (an id ≥ 0 per token) is to be kept. */
export function typeRuns(type: Int32Array, keeps: (id: number, tokens: Int32Array) => Int32Array): TypeRuns {
  const sorted = Int32Array.from(type.keys())
    .filter(t => type[t] >= 0)
    .sort((a, b) => type[a] - type[b] || a - b);
  const order: number[] = [];
  const start = [0];
  for (let from = 0, to = 0; from < sorted.length; from = to) {
    while (to < sorted.length && type[sorted[to]] === type[sorted[from]]) to++;
    const kept = keeps(type[sorted[from]], sorted.subarray(from, to));
    if (kept.length === 0) continue;
    for (const t of kept) order.push(t);
    start.push(order.length);
  }
  return { order: Int32Array.from(order), start: Int32Array.from(start) };
}
