// One document of a trace, dense: what the streaming reader hands to every collector of token-level measures (M12 to M15).
// Shapes: n tokens, L = number of MoE layers (index into header.moeLayers, not layer numbers), k slots.

export interface DocumentBlock {
  /** Index into the header's `documents`. */
  document: number;
  /** Index into the header's `languages`. */
  language: number;
  /** [n] position in the document, ascending. */
  position: Int32Array;
  /** [n] vocabulary id. */
  token: Int32Array;
  /** [n] 1: counted; 0: special, or the first content token where that is dropped. */
  counted: Uint8Array;
  /** [n · L · k] expert per slot, first choice first; −1 where a token has no slot (dropped by capacity). */
  expert: Int32Array;
  /** [n · L · k] gate divided by the sum of the token's gates in that layer; equal shares where all gates are zero. */
  share: Float32Array;
}

/** Takes documents one after another and gives a result at the end; holds sums, never the documents. */
export interface Collector<Result> {
  add(block: DocumentBlock): void;
  finish(): Result;
}
