// Documents → token documents: ids of the text and one EOS. A conversation is encoded piece by piece, as ApolloMoE's data
// script does, so that the mask of its questions falls on token borders.
import { UserError } from '../errors.ts';
import type { Document, Language, TokenDocument, Tokenizer } from './types.ts';

/** Encodes documents in order; `index` is the place in the given list. Errors: a document in a language that is not listed. */
export function tokenizeDocuments(documents: Document[], languages: Language[], tokenizer: Tokenizer): TokenDocument[] {
  const idOf = new Map(languages.map(language => [language.code, language.index]));
  return documents.map((document, index) => {
    const language = idOf.get(document.language);
    if (language === undefined) {
      throw new UserError(
        `document ${document.id} is in "${document.language}", which the families file does not have`,
      );
    }
    const { id, domain, source, item } = document;
    return { id, language, index, domain, source, item, ...encode(document, tokenizer) };
  });
}

function encode(document: Document, tokenizer: Tokenizer): Pick<TokenDocument, 'ids' | 'learn'> {
  if (document.pieces === undefined) return { ids: withEos([tokenizer.encode(document.text)], tokenizer.eosId) };
  const encoded = document.pieces.map(piece => tokenizer.encode(piece.text));
  const ids = withEos(encoded, tokenizer.eosId);
  const learn = new Uint8Array(ids.length);
  let at = 0;
  for (const [i, piece] of encoded.entries()) {
    if (document.pieces[i].learn) learn.fill(1, at, at + piece.length);
    at += piece.length;
  }
  learn[at] = 1; // EOS: the model must learn to stop
  return { ids, learn };
}

function withEos(parts: Int32Array[], eosId: number): Int32Array {
  const ids = new Int32Array(parts.reduce((sum, part) => sum + part.length, 1));
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  ids[at] = eosId;
  return ids;
}
