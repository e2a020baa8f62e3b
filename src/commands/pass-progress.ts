// Progress of a pass over documents: a bar on a terminal, nothing elsewhere (a pass takes seconds).
import { barLine, duration, redraw } from '../train/progress.ts';

export function passProgress(silent: boolean): { update: (done: number, total: number) => void; stop: () => void } {
  const stream = process.stderr;
  if (silent || !stream.isTTY) return { update: () => {}, stop: () => {} };
  const start = performance.now();
  return {
    update(done, total) {
      const left = ((performance.now() - start) / 1000 / done) * (total - done);
      redraw(stream, barLine(done, total, `${duration(left)} left`, stream.columns));
    },
    stop: () => redraw(stream, ''),
  };
}
