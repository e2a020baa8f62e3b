// The plain bytes tokenizer: 256 bytes of UTF-8 (after NFC) and the end of text. No language costs more than its bytes, and
// nothing is learned. It is the byte-level tokenizer without merges, so it too is a standard tokenizer.json.
import type { Tokenizer } from '../types.ts';
import { byteLevelTokenizer } from './byte-level-tokenizer.ts';

export const bytesTokenizer = (): Tokenizer => byteLevelTokenizer('bytes', { split: 'none', merges: [] });
