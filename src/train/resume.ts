// Which settings may differ when a run goes on from a checkpoint. Everything that decides the bits of the next step must
// be the same (the number of steps too: schedules and the growth of experts are laid out over it); how often to save or look, and
// when to give up may change.
import { UserError } from '../errors.ts';

/** Dotted paths that may differ. A path stands for everything below it. */
export const mayDifferOnResume: readonly string[] = [
  'name',
  'train.evaluate_every',
  'train.save_every',
  'train.keep_checkpoints',
  'train.record_every',
  'train.explosion_factor',
];

export interface ConfigDifference {
  /** Dotted path, list places as numbers: `train.learning_rate`, `model.moe_layers.1`. */
  path: string;
  /** undefined: not there. */
  saved: unknown;
  wanted: unknown;
  /** Whether a resume may go on with it. */
  allowed: boolean;
  /** `train.learning_rate: 0.001 → 0.003`. */
  text: string;
}

const isTree = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const show = (value: unknown): string => (value === undefined ? 'not set' : JSON.stringify(value));
const mayDiffer = (path: string): boolean =>
  mayDifferOnResume.some(allowed => path === allowed || path.startsWith(`${allowed}.`));

/** All leaves that differ between two resolved configurations (plain JSON), in the order of the saved one's keys. */
export function configDifferences(saved: unknown, wanted: unknown, at = ''): ConfigDifference[] {
  if (Object.is(saved, wanted)) return [];
  if (isTree(saved) && isTree(wanted) && Array.isArray(saved) === Array.isArray(wanted)) {
    const keys = new Set([...Object.keys(saved), ...Object.keys(wanted)]);
    return [...keys].flatMap(key => configDifferences(saved[key], wanted[key], at ? `${at}.${key}` : key));
  }
  return [{ path: at, saved, wanted, allowed: mayDiffer(at), text: `${at}: ${show(saved)} → ${show(wanted)}` }];
}

/**
 * Throws UserError listing every difference that a resume cannot take. `checkpoint` names where the saved one is from.
 * Returns the allowed differences, for the user to read.
 */
export function requireSameConfig(saved: unknown, wanted: unknown, checkpoint: string): ConfigDifference[] {
  const differences = configDifferences(saved, wanted);
  const refused = differences.filter(difference => !difference.allowed);
  if (refused.length === 0) return differences;
  throw new UserError(
    `${checkpoint} was trained under another configuration (${refused.map(({ text }) => text).join('; ')}): ` +
      'resume without changing these, or start a new run with another --out.',
  );
}
