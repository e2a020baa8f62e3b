// Ctrl-C as a question that long work asks between steps, so that it can save before it stops.

/** Thrown after the work was saved. Exit code 130. */
export class Interrupted extends Error {
  override name = 'Interrupted';
}

/** Listens for Ctrl-C and SIGTERM while `work` runs. The first asks work to stop; the second stops at once. */
export async function withInterrupt<T>(work: (stopAsked: () => boolean) => Promise<T>): Promise<T> {
  let asked = false;
  const listen = (): void => {
    if (asked) process.exit(130);
    asked = true;
    process.stderr.write('\nStopping after this step, then saving (once more to stop at once).\n');
  };
  process.on('SIGINT', listen);
  process.on('SIGTERM', listen);
  try {
    return await work(() => asked);
  } finally {
    process.off('SIGINT', listen);
    process.off('SIGTERM', listen);
  }
}
