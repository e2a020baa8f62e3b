// Trace schema, version 2: what analysis reads. Written by `moe trace` and `moe analyze-routing`, readable by anyone (Parquet).
// One row per routed slot, documents ascending, inside a document by position, layer, slot. Padding is never written; special
// tokens are written and marked. Beside the slots: exact counts per document and per language, and optionally the mean softmax.
// Version 1 had no `special`, no documents.parquet and no order of documents; it is still read.
// analysis/ may import this file and nothing else of the program. Every column is described in docs/trace.md.

export const TRACE_VERSION = 2;

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
  /** 1 for begin, end, padding-like, chat and template tokens, which no measure counts; else 0. */
  special: Int32Array;
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
  /** Seed by which every router was drawn anew before the recording; absent: routers as they were trained. */
  untrainedRouter?: number;
  /** The program that recorded it did not say its gates: shares are equal, and slots need not be in the order of scores. */
  gates?: 'absent';
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

/** One cell of documents.parquet: what the tokens of a document gave to an expert in a layer. */
export interface DocumentCount {
  document: number;
  layer: number;
  expert: number;
  /** Slots of the counted tokens: neither special nor the first content token of the document. */
  count: number;
  /** Sum over the same tokens of their gates, renormalised so that a token weighs 1. */
  gate: number;
  /** Slots (0 or 1) and gate of the first content token, whose routing is positional (attention sink). */
  first: number;
  firstGate: number;
}

/** One cell of softmax.parquet (optional): mean of the router's full softmax over the counted tokens of a document. */
export interface DocumentSoftmax {
  document: number;
  layer: number;
  expert: number;
  probability: number;
}

export interface Trace {
  header: TraceHeader;
  columns: TraceColumns;
  counts: CountRow[];
  /** Absent: version 1, or a writer that leaves it to the reader to count. */
  documents?: DocumentCount[];
  softmax?: DocumentSoftmax[];
  /** Text of the token ids that occur, for people to read (vocabulary.parquet). */
  vocabulary?: Map<number, string>;
}
