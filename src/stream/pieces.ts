// Batches cut into pieces of whole sequences, so that what one piece needs in a layer fits. Sequences do not see each other and
// products give a row the same bits whatever rows are beside it, so the cut changes nothing.
// Shapes: B sequences of S positions, T = B·S tokens.
import type { ModelSpec } from '../model/spec.ts';
import type { TokenInput } from '../model/token-input.ts';

export interface Piece {
  /** Which batch, and its first token there. */
  batch: number;
  from: number;
  tokens: TokenInput;
  /** Tokens of all pieces before this one. */
  start: number;
}

/** Whether a token's route depends on the other tokens of its batch, which then passes whole. */
export const mustPassWhole = ({ capacity_factor, router }: ModelSpec): boolean =>
  capacity_factor !== null || router.kind === 'expert-choice';

/** @param sequences in a piece at most */
export function piecesOf(batches: readonly TokenInput[], sequences: number): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  batches.forEach((all, batch) => {
    for (let first = 0; first < all.batch; first += sequences) {
      const [from, end] = [first, Math.min(all.batch, first + sequences)].map(row => row * all.sequence);
      pieces.push({ batch, from, start, tokens: part(all, from, end) });
      start += end - from;
    }
  });
  return pieces;
}

const part = (all: TokenInput, from: number, end: number): TokenInput => ({
  batch: (end - from) / all.sequence,
  sequence: all.sequence,
  id_T: all.id_T.subarray(from, end),
  position_T: all.position_T.subarray(from, end),
  segment_T: all.segment_T.subarray(from, end),
  languageExpert_T: all.languageExpert_T?.subarray(from, end) ?? null,
  counted_T: all.counted_T.subarray(from, end),
  acted_T: all.acted_T?.subarray(from, end),
});
