// The tokens of one document with the expert that each chose first, per MoE layer: what the token strip draws. One
// row per token and layer: position, token, text, counted (0: special or left out), layer, expert (null where the
// token has no slot). n tokens, L layers: n · L rows.
import { type ColumnTable, table } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import type { DocumentBlock } from './block.ts';

/** Tokens without a known text are shown by their id, as “#17”. */
export function documentTokens(
  { position, token, counted, expert }: DocumentBlock,
  { moeLayers, expertsPerToken: k }: TraceHeader,
  vocabulary: Map<number, string> = new Map(),
): ColumnTable {
  const L = moeLayers.length;
  const rows = Array.from({ length: position.length * L }, (_, i) => ({ t: Math.floor(i / L), l: i % L }));
  const first = ({ t, l }: { t: number; l: number }) => expert[(t * L + l) * k];
  return table({
    position: rows.map(({ t }) => position[t]),
    token: rows.map(({ t }) => token[t]),
    text: rows.map(({ t }) => vocabulary.get(token[t]) ?? `#${token[t]}`),
    counted: rows.map(({ t }) => counted[t]),
    layer: rows.map(({ l }) => moeLayers[l]),
    expert: rows.map(row => (first(row) >= 0 ? first(row) : null)),
  });
}
