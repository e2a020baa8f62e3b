// Exact counts of recorded slots: per document × layer × expert (counted tokens, and the first content token apart), and per
// language × layer × expert (all tokens that are not special, as they are counted while a model trains).
// The gates of a token in a layer are divided by their sum; where all are 0 its experts share alike.
// Shapes: D documents, L MoE layers, E experts, k choices, G languages.
import type { CountRow, DocumentCount } from '../../routing/trace.ts';
import { firstContent, NO_EXPERT, placeOf, type Slots } from './slots.ts';

/** Counts of the documents [first, end), cells without a slot left out, by document, layer, expert. */
export function documentCounts(slots: Slots, first: number, end: number): DocumentCount[] {
  const { layers, experts, start } = slots;
  const cells = layers.length * experts;
  const counted = tally(cells);
  const opening = tally(cells);
  const rows: DocumentCount[] = [];
  for (let document = first; document < end; document++) {
    const own = firstContent(slots, document);
    counted.clear();
    opening.clear();
    for (let n = start[document]; n < start[document + 1]; n++) {
      if (slots.special[n] === 0) addToken(slots, n, n === own ? opening : counted, 0);
    }
    for (let cell = 0; cell < cells; cell++) {
      if (counted.count[cell] === 0 && opening.count[cell] === 0) continue;
      rows.push({
        document,
        layer: layers[Math.floor(cell / experts)],
        expert: cell % experts,
        count: counted.count[cell],
        gate: counted.gate[cell],
        first: opening.count[cell],
        firstGate: opening.gate[cell],
      });
    }
  }
  return rows;
}

/** Counts of each language, cells without a slot left out, by layer, language, expert. @param languages G */
export function languageCounts(slots: Slots, languages: number): CountRow[] {
  const { layers, experts, start, step } = slots;
  const cells = layers.length * experts;
  const all = tally(languages * cells);
  slots.language.forEach((language, d) => {
    for (let n = start[d]; n < start[d + 1]; n++) if (slots.special[n] === 0) addToken(slots, n, all, language * cells);
  });
  return layers.flatMap((layer, l) =>
    Array.from({ length: languages * experts }, (_, i) => {
      const [language, expert] = [Math.floor(i / experts), i % experts];
      const cell = language * cells + l * experts + expert;
      return { step, layer, language, expert, count: all.count[cell], gate: all.gate[cell] };
    }).filter(({ count }) => count > 0),
  );
}

interface Tally {
  count: Int32Array;
  gate: Float64Array;
  clear(): void;
}

function tally(cells: number): Tally {
  const [count, gate] = [new Int32Array(cells), new Float64Array(cells)];
  const clear = (): void => {
    count.fill(0);
    gate.fill(0);
  };
  return { count, gate, clear };
}

/** @param base first cell of the block [L, E] that the token counts in */
function addToken(slots: Slots, n: number, { count, gate }: Tally, base: number): void {
  const { layers, experts, k, expert } = slots;
  for (let l = 0; l < layers.length; l++) {
    const at = placeOf(slots, n, l);
    let [mass, chosen] = [0, 0];
    for (let i = at; i < at + k; i++) {
      if (expert[i] === NO_EXPERT) continue;
      mass += slots.gate[i];
      chosen++;
    }
    for (let i = at; i < at + k; i++) {
      if (expert[i] === NO_EXPERT) continue;
      const cell = base + l * experts + expert[i];
      count[cell]++;
      gate[cell] += mass > 0 ? slots.gate[i] / mass : 1 / chosen;
    }
  }
}
