// Reads values out of a foreign config.json, each checked: a wrong kind, or a value that would make our forward pass another
// than the transformers library's, is refused by one sentence with key and value.
import { UserError } from '../../errors.ts';
import { show } from '../show.ts';

/** A parsed config.json and where it lies. */
export interface ForeignConfig {
  json: Record<string, unknown>;
  file: string;
}

/** Far beyond any published model; a hostile file must not make us plan millions of tensors. */
const MOST_PARTS = 1024;

/** @throws UserError naming key and value */
export function refuse({ json, file }: ForeignConfig, key: string, why: string): never {
  throw new UserError(`${file}: ${key} is ${key in json ? show(json[key]) : 'missing'}; ${why}.`);
}

/** A finite number. @param usual what the library takes when the key is absent or null; without one the key is needed */
export function numberOf(config: ForeignConfig, key: string, usual?: number): number {
  const value = config.json[key] ?? usual;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  return refuse(config, key, 'a number is needed there');
}

/** A whole number from 1 up. */
export function sizeOf(config: ForeignConfig, key: string, usual?: number): number {
  const value = numberOf(config, key, usual);
  return Number.isSafeInteger(value) && value > 0
    ? value
    : refuse(config, key, 'a whole number above 0 is needed there');
}

/** How many layers or experts there are. */
export function countOf(config: ForeignConfig, key: string): number {
  const value = sizeOf(config, key);
  return value <= MOST_PARTS ? value : refuse(config, key, `more than ${MOST_PARTS} are not supported`);
}

export function booleanOf(config: ForeignConfig, key: string, usual: boolean): boolean {
  const value = config.json[key] ?? usual;
  return typeof value === 'boolean' ? value : refuse(config, key, 'true or false is needed there');
}

/** The layer numbers that a key lists; none when it is absent. */
export function layersOf(config: ForeignConfig, key: string): number[] {
  const value = config.json[key] ?? [];
  const isList = Array.isArray(value) && value.every(layer => Number.isSafeInteger(layer));
  return isList ? value : refuse(config, key, 'a list of layer numbers is needed there');
}

/** Refuses a setting with which this program would compute something else. Absent and null are as the first of `known`. */
export function mustBeOneOf(config: ForeignConfig, key: string, known: readonly unknown[]): void {
  if (known.includes(config.json[key] ?? known[0])) return;
  refuse(config, key, `this version computes ${known.map(show).join(' or ')} only`);
}
