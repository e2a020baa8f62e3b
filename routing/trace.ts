// Trace schema, version 1: what analysis reads. Written by `moe analyze-routing`, readable by anyone (Parquet).
// One row per routed slot; the exact counts (layer × language × expert) are always written beside it.
// The slots of one token in one layer are adjacent rows, first choice first. Padding is never written.
// analysis/ may import this file and nothing else of the program. Every column is described in docs/trace.md.

export const TRACE_VERSION = 1;

/** Columns of the slot table, in order. Each is one flat array of equal length. */
export interface TraceColumns {
  step: Int32Array;
  /** Index into `documents`. */
  document: Int32Array;
  /** Position inside the document, from 0. */
  position: Int32Array;
  /** Vocabulary id of the token. */
  token: Int32Array;
  /** Index into `languages`. */
  language: Int32Array;
  /** Layer number in the model, from 0. */
  layer: Int32Array;
  /** 0 for the first choice, k−1 for the last. */
  slot: Int32Array;
  expert: Int32Array;
  gate: Float32Array;
}

export interface TraceLanguage {
  code: string;
  name: string;
  script: string;
  family: string;
  /** The language's own expert; −1 where none is known. */
  expert: number;
  /** Bytes of real text in the training corpus; 0 marks a zero-text language in every figure. */
  trainingBytes: number;
}
export interface TraceDocument {
  id: string;
  /** Parallel item shared across languages. */
  item: string;
  language: string;
  source: string;
  domain: string;
}
export interface TraceHeader {
  version: number;
  run: string;
  model: string;
  routing: 'free' | 'forced' | 'hinted';
  numExperts: number;
  expertsPerToken: number;
  numLayers: number;
  moeLayers: number[];
  normalised: boolean;
  /** Name of each expert's family (or language), by expert id. */
  expertNames: string[];
  languages: TraceLanguage[];
  documents: TraceDocument[];
}

/** One exact count: tokens of `language` whose slot went to `expert` in `layer`. */
export interface CountRow {
  step: number;
  layer: number;
  language: number;
  expert: number;
  count: number;
  /** Sum of gate weights, renormalised over the k slots so that a token weighs 1. */
  gate: number;
}
export interface Trace {
  header: TraceHeader;
  columns: TraceColumns;
  counts: CountRow[];
}
