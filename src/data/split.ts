// Which documents are held out: by parallel item, so that a text and its translations always fall on the same side.
import { createHash } from 'node:crypto';
import type { Split } from './types.ts';

/** Articles of the Universal Declaration held out in every language; the preamble is article 0 and is trained on. */
export const UDHR_TEST = [12, 25, 29];
export const UDHR_VALIDATION = [8, 19, 26];
/** Article 25 (food, housing, medical care, sickness): the one health text that 48 languages share. It is in the test split. */
export const HEALTH_PROBE = 'udhr/25';

/** Split of a UDHR article. */
export function articleSplit(article: number): Split {
  if (UDHR_TEST.includes(article)) return 'test';
  return UDHR_VALIDATION.includes(article) ? 'validation' : 'train';
}

/** 90 % train, 5 % validation, 5 % test by the SHA-256 of the item's name. */
export function itemSplit(item: string): Split {
  const share = createHash('sha256').update(item).digest().readUInt32BE(0) / 2 ** 32;
  if (share < 0.9) return 'train';
  return share < 0.95 ? 'validation' : 'test';
}
