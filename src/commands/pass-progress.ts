// Progress of a pass over documents: a bar on a terminal, nothing elsewhere (a pass takes seconds).
import { barLine, duration, redraw } from '../train/progress.ts';

export interface PassProgress {
  /** @param layer from 0, of a model that is read layer by layer; the number of layers means its head */
  update(done: number, total: number, layer?: number): void;
  stop(): void;
}

/** @param layers of the model, to name the one that runs */
export function passProgress(silent: boolean, layers: number): PassProgress {
  const stream = process.stderr;
  if (silent || !stream.isTTY) return { update: () => {}, stop: () => {} };
  const start = performance.now();
  let drawn = Number.NEGATIVE_INFINITY;
  return {
    update(done, total, layer) {
      const now = performance.now();
      if (now - drawn < DRAW_EVERY && done < total) return;
      drawn = now;
      const left = `${duration(((now - start) / 1000 / done) * (total - done))} left`;
      redraw(stream, barLine(done, total, `${placeOf(layer, layers)}${left}`, stream.columns));
    },
    stop: () => redraw(stream, ''),
  };
}

/** Milliseconds between two drawings. */
const DRAW_EVERY = 100;

function placeOf(layer: number | undefined, layers: number): string {
  if (layer === undefined) return '';
  return layer < layers ? `layer ${layer + 1} of ${layers} · ` : 'head · ';
}
