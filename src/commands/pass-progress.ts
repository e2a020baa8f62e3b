// Progress of a pass over documents: a bar on a terminal, nothing elsewhere (a pass takes seconds).
import { SingleBar } from 'cli-progress';

export function passProgress(silent: boolean): { update: (done: number, total: number) => void; stop: () => void } {
  if (silent || !process.stderr.isTTY) return { update: () => {}, stop: () => {} };
  const bar = new SingleBar({
    format: '{bar} {value}/{total} batches · {eta} s left',
    barsize: 24,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  });
  let started = false;
  return {
    update(done, total) {
      if (!started) bar.start(total, 0);
      started = true;
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
