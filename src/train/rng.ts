// Random numbers with a state that can be saved: seedrandom's Alea, uniform and Gaussian (Box–Muller) draws.
// A run has one seed and several named streams; each stream is seeded by `seed/name`, so drawing more from one,
// or adding another, never shifts the rest.
import seedrandom from 'seedrandom';

/** Plain JSON; every number survives JSON exactly. `spare` is the second Gaussian of the last Box–Muller pair. */
export interface RngState {
  alea: { c: number; s0: number; s1: number; s2: number };
  spare: number | null;
}

export interface Rng {
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** Uniform integer in [0, below). */
  integer(below: number): number;
  /** Standard normal. */
  gaussian(): number;
  state(): RngState;
}

/** What a run draws from: initial weights; router start and noise of upcycled copies. The data order needs none: it is a pure
 *  function of the seed (src/data/order.ts). */
export const streamNames = ['init', 'upcycle'] as const;
export type StreamName = (typeof streamNames)[number];
export type Streams = Record<StreamName, Rng>;
export type StreamStates = Record<StreamName, RngState>;

type Alea = seedrandom.StatefulPRNG<seedrandom.State.Alea>;

function rngOf(alea: Alea, firstSpare: number | null): Rng {
  let spare = firstSpare;
  return {
    uniform: () => alea.double(),
    integer: below => Math.floor(alea.double() * below),
    gaussian() {
      if (spare !== null) {
        const value = spare;
        spare = null;
        return value;
      }
      // 1 − u is in (0, 1], so the logarithm is finite.
      const radius = Math.sqrt(-2 * Math.log(1 - alea.double()));
      const angle = 2 * Math.PI * alea.double();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
    state: () => ({ alea: { ...alea.state() }, spare }),
  };
}

/** A generator from a seed text. The same text gives the same numbers everywhere. */
export const createRng = (seed: string): Rng => rngOf(seedrandom.alea(seed, { state: true }), null);

/** A generator that goes on exactly where `state` was taken. */
export const restoreRng = (state: RngState): Rng => rngOf(seedrandom.alea('', { state: state.alea }), state.spare);

const eachStream = <Value>(make: (name: StreamName) => Value): Record<StreamName, Value> =>
  Object.fromEntries(streamNames.map(name => [name, make(name)])) as Record<StreamName, Value>;

/** The named streams of a run with this seed. */
export const createStreams = (seed: number): Streams => eachStream(name => createRng(`${seed}/${name}`));

/** States of all streams, for trainer_state.json. */
export const streamStates = (streams: Streams): StreamStates => eachStream(name => streams[name].state());

/** Streams that go on where `states` were taken. */
export const restoreStreams = (states: StreamStates): Streams => eachStream(name => restoreRng(states[name]));
