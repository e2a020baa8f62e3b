// More random calls of every kernel than safety.test.ts makes: with the flags that people get, under AddressSanitizer and
// UndefinedBehaviorSanitizer, which also see into scratch memory and the stack, and under ThreadSanitizer.

import { spawnSync } from 'node:child_process';
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { loadNative } from '../../src/engine/library/native.ts';
import { openWasm } from '../../src/engine/library/wasm.ts';
import { cache, nativeHere } from './backends.ts';
import { callAll } from './guard/canaries.ts';
import {
  type Build,
  brokenCase,
  compileRunner,
  compileThreads,
  complaints,
  JITTER,
  variantsHere,
} from './guard/guard.ts';
import { CALLS, casesOf } from './kernel-cases.ts';

const here = await variantsHere();
const cases = (seed: string, each: number) => {
  const random = seedrandom(seed);
  return Object.keys(CALLS).flatMap(kernel => casesOf(kernel, each, random));
};

const SANITIZERS: Record<string, { build: Build; finds: Record<string, RegExp> }> = {
  'AddressSanitizer and UndefinedBehaviorSanitizer': {
    build: { flags: ['-O1', '-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined'], apart: true },
    finds: {
      reads_beyond: /heap-buffer-overflow/,
      writes_before: /heap-buffer-overflow/,
      overruns_scratch: /heap-buffer-overflow/,
      shifts_too_far: /runtime error: shift/,
    },
  },
  ThreadSanitizer: {
    build: { flags: ['-O1', '-g', '-fsanitize=thread'], apart: true },
    finds: { races: /data race/ },
  },
};

/** Why a sanitizer cannot be used here, or null: its library is a package of its own on many systems. */
async function whyNot(build: Build): Promise<string | null> {
  if (!nativeHere.works) return nativeHere.why;
  try {
    const program = await compileRunner({ ...build, broken: true });
    const said = complaints(program, [brokenCase('good')], 'plain', 'heap');
    return said.length === 0 ? null : `It does not run: ${said[0]}.`;
  } catch (error) {
    return `The compiler does not have it: ${(error as Error).message.split('\n')[1] ?? ''}.`;
  }
}

describe.each(Object.entries(SANITIZERS))('%s', async (_, { build, finds }) => {
  const reason = await whyNot(build);

  if (reason) {
    it('cannot be used here, and says why', () => expect(reason).toMatch(/^[A-Z][^\n]*\.$/));
    return;
  }

  it.each(here)('has nothing to say of the kernels for %s', async variant => {
    expect(complaints(await compileRunner(build), cases('sanitizers', 60), variant, 'heap')).toEqual([]);
  });

  it('finds what it is for', async () => {
    const program = await compileRunner({ ...build, broken: true });
    for (const [kernel, complaint] of Object.entries(finds)) {
      expect(complaints(program, [brokenCase(kernel)], 'plain', 'heap').join('\n'), kernel).toMatch(complaint);
    }
  });
});

describe.runIf(nativeHere.works)('threads that start, stop, wake and sleep', () => {
  it.each([
    ['as compiled for people', [], 100_000],
    ['at the worst moments', JITTER, 20_000],
  ] as const)('%s', async (_, flags, rounds) => {
    const { status, signal } = spawnSync(await compileThreads([...flags]), [String(rounds)], { timeout: 300_000 });
    expect(signal ?? status).toBe(0);
  });
});

describe('as compiled for people', () => {
  it.each(here)('pages that may not be touched beside each array: %s', async variant => {
    const program = await compileRunner({ flags: [] });
    for (const place of ['end', 'start'] as const) {
      expect(complaints(program, cases(`pages at the ${place}`, 150), variant, place)).toEqual([]);
    }
  });

  it('canaries, threads, and the same numbers from every build', async () => {
    const expected: Float32Array[][] = [];
    const each = cases('canaries', 100);
    for (const build of ['simd128', 'relaxed-simd']) callAll(openWasm(build), each, expected);
    for (const instructions of here) {
      const loaded = await loadNative({ cache, instructions });
      expect(loaded).toMatchObject({ works: true, library: { instructions } });
      if (loaded.works) callAll(loaded.library, each, expected);
    }
  });
});
