// Times of one piece of work, repeated, and their summary. The clock is the caller's.
import { type Tensor, tf } from '../engine/tf.ts';
import { median } from '../train/watch.ts';

/** Milliseconds since some start, with fractions. */
export type Clock = () => number;

export interface Repeats {
  /** Runs that are counted. */
  repeats: number;
  /** Runs before them that are not. */
  warmup: number;
  clock: Clock;
}

/** The same keys as bench/torch_baseline.py writes. */
export interface Timing {
  name: string;
  /** Of each counted run. */
  ms: number[];
  median: number;
  min: number;
  max: number;
  /** Operations of a run over 10⁹. */
  gflop: number;
  /** At the median. */
  gflopPerSecond: number;
  /** Tokens of a run over seconds, at the median; absent where there are none. */
  tokensPerSecond?: number;
}

/** Runs `work` and keeps its times; `before` is not counted. */
export async function timed(
  work: () => void | Promise<void>,
  { repeats, warmup, clock }: Repeats,
  before = () => {},
): Promise<number[]> {
  const ms: number[] = [];
  for (let i = 0; i < warmup + repeats; i++) {
    before();
    const start = clock();
    await work();
    if (i >= warmup) ms.push(clock() - start);
  }
  return ms;
}

/** Backends whose operations have ended when they return. */
export const IMMEDIATE = ['native', 'wasm', 'cpu'];

/** Waits until a device has made the tensor. */
export async function finished(tensor: Tensor): Promise<void> {
  if (!IMMEDIATE.includes(tf.getBackend())) await tensor.data();
}

/** @param operations floating-point operations of one run  @param tokens tokens of one run, if it has some */
export function summary(name: string, ms: number[], operations: number, tokens?: number): Timing {
  const middle = median(ms);
  const each = { name, ms, median: middle, min: Math.min(...ms), max: Math.max(...ms) };
  const gflop = operations / 1e9;
  const rate = { gflop, gflopPerSecond: gflop / (middle / 1000) };
  return tokens === undefined ? { ...each, ...rate } : { ...each, ...rate, tokensPerSecond: tokens / (middle / 1000) };
}
