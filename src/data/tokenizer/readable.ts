// The text of single tokens, for people: decoded alone, a token may be half a character or lose its space, so this reads the
// vocabulary itself. Bytes that are no whole character are written as in `\xE4`.
import type { Tokenizer } from '../types.ts';
import { BYTE_TO_CHARACTER } from './byte-level.ts';

interface TokenizerFile {
  added_tokens?: { id: number; content: string }[];
  pre_tokenizer?: unknown;
  decoder?: unknown;
  model: { vocab: Record<string, number> | ([string, number] | string)[] };
}

/** Texts of ids; an id that the vocabulary has not is written as `<id>`. */
export function readableTokens(tokenizer: Tokenizer, ids: Iterable<number>): Map<number, string> {
  const file: TokenizerFile = JSON.parse(tokenizer.toJson());
  const wanted = new Set(ids);
  const piece = new Map<number, string>();
  const keep = (text: string, id: number): void => void (wanted.has(id) && piece.set(id, text));
  if (Array.isArray(file.model.vocab)) {
    file.model.vocab.forEach((entry, id) => {
      keep(Array.isArray(entry) ? entry[0] : entry, id);
    });
  } else for (const [text, id] of Object.entries(file.model.vocab)) keep(text, id);
  const byteLevel = JSON.stringify([file.pre_tokenizer, file.decoder] as unknown[]).includes('"ByteLevel"');
  const texts = new Map([...wanted].map(id => [id, textOf(piece.get(id), byteLevel) ?? `<${id}>`]));
  for (const { id, content } of file.added_tokens ?? []) if (wanted.has(id)) texts.set(id, content);
  return texts;
}

function textOf(piece: string | undefined, byteLevel: boolean): string | undefined {
  if (piece === undefined) return undefined;
  if (byteLevel) {
    const bytes = Array.from(piece, character => BYTE_OF.get(character));
    return bytes.includes(undefined) ? piece : bytesAsText(Uint8Array.from(bytes as number[]));
  }
  const byte = /^<0x([0-9A-F]{2})>$/i.exec(piece); // as SentencePiece writes a byte that no piece has
  return byte ? bytesAsText(Uint8Array.of(Number.parseInt(byte[1], 16))) : piece.replaceAll('▁', ' ');
}

const BYTE_OF = new Map(BYTE_TO_CHARACTER.map((character, byte) => [character, byte]));

function bytesAsText(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = characterLength(bytes[at]);
    try {
      if (length === 0 || at + length > bytes.length) throw new TypeError();
      text += WHOLE.decode(bytes.subarray(at, at + length));
      at += length;
    } catch {
      text += `\\x${bytes[at++].toString(16).toUpperCase().padStart(2, '0')}`;
    }
  }
  return text;
}

const WHOLE = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes of the character that this byte begins; 0 for one that begins none. */
const characterLength = (byte: number): number =>
  byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 0;
