// The one error that is the user's to mend. It is a leaf: every room may import it.

/** Wrong input. `message` is one sentence: what is wrong, where (file, line, value) and how to mend it. Exit code 2. */
export class UserError extends Error {
  override name = 'UserError';
}
