// Times of work on the running backend. Where operations have ended when they return, each run is timed by itself; on a GPU a
// batch of runs is timed between two waits and divided, and the GPU's own timestamps are taken beside it.
import { type Tensor, tf } from '../engine/tf.ts';
import { type Gpu, gpuOf } from '../engine/webgpu/gpu.ts';
import { gpuMilliseconds } from '../engine/webgpu/timing.ts';
import { median } from '../train/watch.ts';
import { type Clock, IMMEDIATE, type Repeats } from './timing.ts';

/** One run; it answers what it made, which is then disposed. Runs are numbered, so that inputs can take turns. */
export type Work = (run: number) => Tensor[];

export interface Times {
  /** Milliseconds of a run: each counted one, or the mean of each counted batch. */
  ms: number[];
  median: number;
  min: number;
  max: number;
  /** Median milliseconds of a run by the GPU's own timestamps, where it has them. */
  gpu?: number;
}

/** What a run takes, by the GPU's timestamps where there are some. */
export const taken = ({ median: ms, gpu }: Times): number => gpu ?? ms;

/** Milliseconds of a batch on a GPU: long beside the wait at its end. */
const BATCH_MS = 20;
const MOST_RUNS = 256;
/** Dispatches that surely stay in one submission. */
const DISPATCHES_TOGETHER = 12;
/** Bytes of answers that may wait for their disposal. */
const WAITING_BYTES = 2 ** 30;

/** Times `work`. A run that alone takes longer than `limit` milliseconds is not repeated. */
export async function timesOf(work: Work, repeats: Repeats, limit: number): Promise<Times> {
  const watch = tf.getBackend() === 'webgpu' ? timesOnGpu : timesOfRuns;
  return watch(work, repeats, limit);
}

async function timesOfRuns(work: Work, { repeats, warmup, clock }: Repeats, limit: number): Promise<Times> {
  const began = clock();
  const ms: number[] = [];
  for (let run = 0; run < warmup + repeats; run++) {
    const start = clock();
    const made = work(run);
    if (!IMMEDIATE.includes(tf.getBackend())) await readOne(made);
    const end = clock();
    tf.dispose(made);
    const long = end - began > limit;
    if (run >= warmup || long) ms.push(end - start);
    if (long) break;
  }
  return { ms, ...summaryOf(ms) };
}

/** Waits for the device by reading one number. */
async function readOne(made: Tensor[]): Promise<void> {
  if (made.length === 0) return;
  const one = tf.tidy(() => made[made.length - 1].flatten().slice(0, 1));
  await one.data();
  one.dispose();
}

async function timesOnGpu(work: Work, { repeats, warmup, clock }: Repeats, limit: number): Promise<Times> {
  const gpu = gpuOf(tf.backend());
  let next = 0;
  const runs = (count: number): void => {
    let waiting = 0;
    for (let i = 0; i < count; i++) {
      const made = work(next++);
      waiting += made.reduce((bytes, { size }) => bytes + 4 * size, 0);
      tf.dispose(made);
      if (waiting > WAITING_BYTES) {
        gpu.submit();
        waiting = 0;
      }
    }
  };
  const first = await batch(gpu, runs, 1, clock); // compiles too
  if (first > limit) {
    const again = [await batch(gpu, runs, 1, clock)];
    return { ms: again, ...summaryOf(again) };
  }
  await batch(gpu, runs, Math.max(1, warmup), clock);
  const one = await batch(gpu, runs, 1, clock);
  const size = Math.min(MOST_RUNS, Math.max(1, Math.ceil(BATCH_MS / Math.max(one, 1e-3))));
  const together = runsOfOneSubmission(gpu, runs);
  await batch(gpu, runs, size, clock); // so that the buffers of a batch have been made
  const ms: number[] = [];
  const onGpu: number[] = [];
  const began = clock();
  for (let sample = 0; sample < repeats && (sample === 0 || clock() - began < limit); sample++) {
    ms.push((await batch(gpu, runs, size, clock)) / size);
    const stamped = await gpuMilliseconds(gpu, () => withoutPauses(() => runs(together)));
    if (stamped !== null) onGpu.push(stamped / together);
  }
  return { ms, ...summaryOf(ms), ...(onGpu.length > 0 ? { gpu: median(onGpu) } : {}) };
}

async function batch(gpu: Gpu, runs: (count: number) => void, count: number, clock: Clock): Promise<number> {
  await gpu.finished();
  const start = clock();
  runs(count);
  await gpu.finished();
  return clock() - start;
}

/** How many runs are handed to the GPU at once, so that it never waits for JavaScript between them. */
function runsOfOneSubmission(gpu: Gpu, runs: (count: number) => void): number {
  gpu.submit();
  withoutPauses(() => runs(1));
  const dispatches = gpu.backend.dispatchCountInPass;
  gpu.submit();
  return dispatches === 0 ? 1 : Math.max(1, Math.floor(DISPATCHES_TOGETHER / dispatches));
}

/** tfjs hands every fifteen of its kernels to the GPU, which then may wait for more. */
function withoutPauses(work: () => void): void {
  const flag = 'WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE';
  const usual = tf.env().getNumber(flag);
  tf.env().set(flag, Number.MAX_SAFE_INTEGER);
  work();
  tf.env().set(flag, usual);
}

const summaryOf = (ms: number[]): { median: number; min: number; max: number } => {
  return { median: median(ms), min: Math.min(...ms), max: Math.max(...ms) };
};
