// From a configuration to what a run trains on: corpus, tokenizer, token documents by split, the stream of batches.
// Everything here is a pure function of the configuration and the installed text, so a resumed run prepares the same.
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import { loadCorpus, zeroTextLanguages } from '../data/corpus.ts';
import { type Mixture, mixtureShares, paperDraw } from '../data/mixture.ts';
import { openStream } from '../data/stream.ts';
import { tokenizeDocuments } from '../data/tokenize.ts';
import { createTokenizer, type TokenizerOptions } from '../data/tokenizer/index.ts';
import type { BatchStream, Corpus, CursorState, Document, Split, TokenDocument, Tokenizer } from '../data/types.ts';
import { readUserText } from '../data/user.ts';
import { UserError } from '../errors.ts';

export interface Prepared {
  corpus: Corpus;
  tokenizer: Tokenizer;
  documents: Record<Split, TokenDocument[]>;
  /** UTF-8 bytes of a document's text, by document id. */
  bytes: Map<string, number>;
  /** Training bytes by language id, words of `intl` included. */
  trainingBytes: Float64Array;
  zeroText: Set<string>;
}

/** Corpus, tokenizer and token documents of a configuration. Throws UserError when no text is for training or for validation.
 *  @param saved the tokenizer of a checkpoint; otherwise one is trained on the training text, or read, as configured */
export async function prepare(config: Config, map: FamilyMap, saved?: Tokenizer): Promise<Prepared> {
  const own = (await Promise.all(config.data.files.map(file => readUserText(file, map.languages)))).flat();
  const corpus = loadCorpus(map.languages, {
    sources: config.data.sources,
    own,
    allowMissing: config.data.allow_missing,
  });
  for (const split of ['train', 'validation'] as const) requireText(split, corpus.documents);
  const train = corpus.documents.filter(document => document.split === 'train');
  const tokenizer = saved ?? createTokenizer(tokenizerOptions(config.tokenizer), train);
  const bytes = new Map(corpus.documents.map(({ id, text }) => [id, Buffer.byteLength(text)]));
  const of = (split: Split): TokenDocument[] =>
    tokenizeDocuments(
      corpus.documents.filter(document => document.split === split),
      map.languages,
      tokenizer,
    );
  const documents = { train: of('train'), validation: of('validation'), test: of('test') };
  const trainingBytes = new Float64Array(map.languages.length);
  for (const { language, id } of documents.train) trainingBytes[language] += bytes.get(id) ?? 0;
  const zeroText = zeroTextLanguages(corpus.documents, map.languages);
  return { corpus, tokenizer, documents, bytes, trainingBytes, zeroText };
}

/** Without training text there is nothing to learn, without validation text every held-out loss would be the mean of nothing. */
function requireText(split: Split, documents: Document[]): void {
  if (documents.some(document => document.split === split)) return;
  throw new UserError(
    `none of the ${documents.length} documents is ${split} text; mark some with "split": "${split}", or leave "split" out ` +
      'and give at least 60 per language, of which about 1 in 20 is then held out for validation and 1 in 20 for test.',
  );
}

function tokenizerOptions(wanted: Config['tokenizer']): TokenizerOptions {
  if (wanted.kind === 'bpe') return { ...wanted, vocabSize: wanted.vocab_size };
  return wanted.kind === 'file' ? { kind: 'file', path: wanted.path, eosToken: wanted.eos } : wanted;
}

/** The endless stream of training batches, at its start or at a saved cursor. */
export function openTrainingStream(config: Config, prepared: Prepared, cursor?: CursorState): BatchStream {
  const { data, train, seed } = config;
  const documents = prepared.documents.train;
  const order =
    data.mixing.kind === 'paper'
      ? {
          list: paperDraw(
            documents.map(({ source }) => source),
            seed,
          ),
        }
      : { share_G: trainingMixture(config, prepared).share_G, seed };
  const shape = { batch: train.batch_size, sequence: data.sequence_length, padId: prepared.tokenizer.eosId };
  return openStream(documents, { ...shape, packing: data.packing, order }, cursor);
}

/** Share of each language in the tokens read, capped at max_epochs over the whole run. */
export function trainingMixture(config: Config, prepared: Prepared): Mixture {
  const { data, train } = config;
  const tokens_G = new Float64Array(prepared.trainingBytes.length);
  for (const { language, ids } of prepared.documents.train) tokens_G[language] += ids.length;
  const budget = train.steps * train.batch_size * train.accumulation * data.sequence_length;
  const { alpha, max_epochs: maxEpochs } = data.mixing;
  return mixtureShares({ bytes_G: prepared.trainingBytes, tokens_G, budget, alpha, maxEpochs });
}
