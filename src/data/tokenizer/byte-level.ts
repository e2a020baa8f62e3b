// The parts that every byte-level tokenizer.json of ours shares: the byte alphabet of GPT-2 (each byte is one
// printable character, so that a vocabulary is plain text), the pre-tokenizer pattern and the file's skeleton.
// Ids: 0…255 are the bytes by value, then the merged tokens in the order learned, last the end of text.

/** End of text and padding, as in Qwen2. */
export const EOS_TOKEN = '<|endoftext|>';

/** Printable characters stand for themselves; the 68 other bytes take the code points from 256 on, in byte order. */
export const BYTE_TO_CHARACTER: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

/**
 * How text is cut before bytes are joined; a merge never crosses a cut. `qwen2` is that model's pattern, its inline flag
 * `(?i:…)` spelt out. `marks`, the default, mends two of its habits: combining marks stay with their letters (Thai, Lao and
 * Indic words are cut at every vowel sign otherwise), and English contractions are not cut out of other languages' words.
 */
export const SPLIT_PATTERNS = {
  marks: String.raw`[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  qwen2: String.raw`'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
};
export type SplitName = keyof typeof SPLIT_PATTERNS;

/** A function that cuts NFC text into pieces which together are the text. `none` leaves it whole. */
export function splitter(split: SplitName | 'none'): (text: string) => string[] {
  if (split === 'none') return text => (text === '' ? [] : [text]);
  // The file format's \s is Unicode's White_Space, JavaScript's is not (it takes U+FEFF and leaves out U+0085).
  const source = SPLIT_PATTERNS[split].replaceAll('\\s', '\\p{White_Space}').replaceAll('\\S', '\\P{White_Space}');
  const pattern = new RegExp(source, 'gu');
  return text => text.match(pattern) ?? [];
}

/** Two neighbouring tokens that become one, in the alphabet above. */
export interface Merge {
  left: string;
  right: string;
}

/** What differs between our tokenizer files. */
export interface ByteLevelModel {
  split: SplitName | 'none';
  /** In the order of application; merge i makes the token of id 256 + i. */
  merges: readonly Merge[];
}

/** The text of a Hugging Face tokenizer.json: NFC, split, bytes, merges. Same model, same bytes. */
export function byteLevelJson(model: ByteLevelModel): string {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  const vocabulary = [...BYTE_TO_CHARACTER, ...model.merges.map(({ left, right }) => left + right)];
  const eos = { id: vocabulary.length, content: EOS_TOKEN, single_word: false, lstrip: false, rstrip: false };
  const file = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [{ ...eos, normalized: false, special: true }],
    normalizer: { type: 'NFC' },
    pre_tokenizer:
      model.split === 'none' ? byteLevel : { type: 'Sequence', pretokenizers: [splitStep(model.split), byteLevel] },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      // fromEntries, not assignment: a corpus of code may well teach the token `__proto__`.
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges: model.merges.map(({ left, right }) => `${left} ${right}`),
    },
  };
  return `${JSON.stringify(file, null, 1)}\n`;
}

const splitStep = (split: SplitName) => ({
  type: 'Split',
  pattern: { Regex: SPLIT_PATTERNS[split] },
  behavior: 'Isolated',
  invert: false,
});

/** The model of a file that byteLevelJson wrote, to the byte; null for any other file. */
export function parseByteLevelJson(json: string): ByteLevelModel | null {
  const file: { model?: { merges?: unknown }; pre_tokenizer?: { pretokenizers?: { pattern?: { Regex?: string } }[] } } =
    JSON.parse(json);
  const regex = file.pre_tokenizer?.pretokenizers?.[0]?.pattern?.Regex;
  const names = Object.keys(SPLIT_PATTERNS) as SplitName[];
  const split = regex === undefined ? 'none' : names.find(name => SPLIT_PATTERNS[name] === regex);
  const merges = file.model?.merges;
  if (split === undefined || !Array.isArray(merges) || !merges.every(merge => typeof merge === 'string')) return null;
  const pairs = merges.map(merge => merge.split(' '));
  const model: ByteLevelModel = { split, merges: pairs.map(([left, right]) => ({ left, right })) };
  return byteLevelJson(model) === json ? model : null;
}
