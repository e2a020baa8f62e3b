// Turns per-language validation losses into family and overall figures. Two means, because they answer different
// questions: token-weighted (what the model sees) and the plain mean over languages (every language counts the same).
// Bits per byte = nats / (ln 2 · UTF-8 bytes): comparable across tokenizers and scripts.

/** Summed over one language's held-out text. */
export interface LanguageLoss {
  code: string;
  family: string;
  /** Sum of the token losses, nats. */
  nats: number;
  /** Tokens that were predicted; 0 for a language without text. */
  tokens: number;
  /** UTF-8 bytes of the text that those tokens spell. */
  bytes: number;
}

export interface LossFigures {
  /** Languages with text. */
  languages: number;
  tokens: number;
  bytes: number;
  /** Nats per token, all tokens pooled. */
  tokenWeighted: number;
  /** Mean over languages of their nats per token. */
  languageMean: number;
  /** Bits per byte, all bytes pooled. */
  bitsPerByte: number;
  /** Mean over languages of their bits per byte. */
  bitsPerByteMean: number;
}

export interface AggregatedLosses {
  byLanguage: { code: string; family: string; loss: number; bitsPerByte: number; tokens: number }[];
  /** In order of first appearance; a family without any text is absent. */
  byFamily: Record<string, LossFigures>;
  all: LossFigures;
  /** Codes that had no tokens and count nowhere. */
  withoutText: string[];
}

const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);
const mean = (values: number[]): number => total(values) / values.length;
const bitsPerByte = (row: { nats: number; bytes: number }): number => row.nats / (Math.LN2 * row.bytes);

function figures(rows: LanguageLoss[]): LossFigures {
  const nats = total(rows.map(row => row.nats));
  const tokens = total(rows.map(row => row.tokens));
  const bytes = total(rows.map(row => row.bytes));
  return {
    languages: rows.length,
    tokens,
    bytes,
    tokenWeighted: nats / tokens,
    languageMean: mean(rows.map(row => row.nats / row.tokens)),
    bitsPerByte: bitsPerByte({ nats, bytes }),
    bitsPerByteMean: mean(rows.map(bitsPerByte)),
  };
}

/** Language, family and overall losses. All figures are NaN when no language has text. */
export function aggregateLosses(rows: LanguageLoss[]): AggregatedLosses {
  const spoken = rows.filter(row => row.tokens > 0);
  const families = [...new Set(spoken.map(row => row.family))];
  return {
    byLanguage: spoken.map(row => ({
      code: row.code,
      family: row.family,
      loss: row.nats / row.tokens,
      bitsPerByte: bitsPerByte(row),
      tokens: row.tokens,
    })),
    byFamily: Object.fromEntries(
      families.map(family => [family, figures(spoken.filter(row => row.family === family))]),
    ),
    all: figures(spoken),
    withoutText: rows.filter(row => row.tokens === 0).map(row => row.code),
  };
}
