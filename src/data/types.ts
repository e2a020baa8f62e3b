// The vocabulary of the data room: languages, documents, tokenizers and batches.
// Shapes: B sequences in a batch, S positions in a sequence.

/** One language of a families file. `index` is its place in the file and the language id used everywhere. */
export interface Language {
  index: number;
  code: string;
  name: string;
  /** ISO 15924, for example Latn, Cyrl, Hans. */
  script: string;
  family: string;
  /** Expert that serves this language. */
  expert: number;
}

export type Split = 'train' | 'validation' | 'test';
export type Domain = 'medical' | 'general';

export interface Document {
  /** Unique and stable: `source/item/language`. */
  id: string;
  /** Language code. */
  language: string;
  /** udhr, health-espresso, quiz, intl, synthetic or the user's file name. */
  source: string;
  domain: Domain;
  split: Split;
  /** Parallel item shared by all languages (`udhr/12`, `quiz/some.key`), so that analysis can pair documents. */
  item: string;
  /** NFC text without markup. */
  text: string;
  /** A conversation's text in pieces (joined, they are `text`): tokenised one by one; only pieces to `learn` give labels. */
  pieces?: { text: string; learn: boolean }[];
}

export interface Corpus {
  documents: Document[];
  /** Where the text came from, for environment.json: package, version and SHA-256 of the text per language and source. */
  manifest: CorpusManifest;
}
export interface CorpusManifest {
  node: string;
  icu: string;
  sources: { source: string; package: string; version: string; sha256: Record<string, string> }[];
}

export interface Tokenizer {
  kind: 'bpe' | 'bytes' | 'file';
  vocabSize: number;
  /** End of text; also the padding id, as in Qwen2. */
  eosId: number;
  /** Ids of the text, no specials added. */
  encode(text: string): Int32Array;
  /** Ids of a text to be continued: with what the model expects before every text, such as Llama's start token. */
  encodePrompt(text: string): Int32Array;
  decode(ids: ArrayLike<number>): string;
  /** The text of a Hugging Face tokenizer.json that @huggingface/tokenizers reads back with the same ids. */
  toJson(): string;
}

/** A tokenised document: ids end with EOS. */
export interface TokenDocument {
  id: string;
  /** Language id (Language.index). */
  language: number;
  /** Index of the document in the list it came from. */
  index: number;
  domain: Domain;
  source: string;
  item: string;
  ids: Int32Array;
  /** Per id, 1 where it is to be learnt, 0 where it is only read (the questions of a conversation). Absent: all learnt. */
  learn?: Uint8Array;
}

/** One micro-batch, all arrays row-major [B, S]. Labels are already shifted: label[t] is the token after input[t]. */
export interface Batch {
  batch: number;
  sequence: number;
  inputId_BS: Int32Array;
  /** Next token, −100 where nothing is to be learned (padding, last token of a document). */
  label_BS: Int32Array;
  /** Language id, −1 on padding. */
  language_BS: Int32Array;
  /** Which document (index into the tokenised list), −1 on padding. Attention never crosses it when documents are isolated. */
  document_BS: Int32Array;
  /** RoPE position: restarts per document when isolated, runs on when concatenated. */
  position_BS: Int32Array;
  /** Attention group: equal ids attend to each other (causally). Isolated: one per document; concatenated: one per row. Padding −1. */
  segment_BS: Int32Array;
}

/** The data cursor saved in each checkpoint: plain JSON. */
export type CursorState = Record<string, unknown>;
export interface BatchStream {
  next(): Batch;
  state(): CursorState;
}
