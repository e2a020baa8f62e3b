// No kernel touches a number outside of its arguments, writes an input, leaves part of an output unwritten, or computes
// other bits on more threads; and all builds compute the same numbers up to rounding. Random calls of every kernel:
// native with pages beside each array that may not be touched, wasm and native with canaries around each array.
// safety.slow.test.ts has more calls, and the sanitizers.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { describe, expect, it } from 'vitest';
import { loadNative } from '../../src/engine/library/native.ts';
import { openWasm } from '../../src/engine/library/wasm.ts';
import { cache, nativeHere } from './backends.ts';
import { callAll } from './guard/canaries.ts';
import { brokenCase, compileRunner, compileThreads, complaints, JITTER, variantsHere } from './guard/guard.ts';
import { CALLS, casesOf } from './kernel-cases.ts';

const CASES_EACH = 12;
const random = seedrandom('safety');
const cases = Object.keys(CALLS).flatMap(kernel => casesOf(kernel, CASES_EACH, random));
const here = await variantsHere();

it('every kernel of kernels.c has its calls', () => {
  const source = readFileSync(join(import.meta.dirname, '../../src/engine/kernels/kernels.c'), 'utf8');
  const list = /#define EACH_KERNEL\(X\)((?:.*\\\n)*.*)/.exec(source)![1];
  const kernels = [...list.matchAll(/X\((\w+)\)/g)].map(([, name]) => name);
  expect(kernels.length).toBeGreaterThan(20);
  expect(Object.keys(CALLS).sort()).toEqual(kernels.sort());
});

describe.runIf(nativeHere.works)('native, pages that may not be touched beside each array', () => {
  it.each(here)('%s', async variant => {
    const program = await compileRunner({ flags: ['-O1'] });
    expect(complaints(program, cases, variant, 'end')).toEqual([]);
    expect(complaints(program, cases, variant, 'start')).toEqual([]);
  });

  it('catches what it is for', async () => {
    const broken = await compileRunner({ flags: ['-O1'], broken: true });
    const said = (kernel: string, place: 'end' | 'start') => complaints(broken, [brokenCase(kernel)], 'plain', place);
    for (const place of ['end', 'start'] as const) {
      expect(said('good', place)).toEqual([]);
      expect(said('writes_input', place)).toEqual(['writes_input\tn 5\twrites the input that is argument 0']);
      expect(said('leaves_unwritten', place)[0]).toBe('leaves_unwritten\tn 5\tleaves numbers unwritten in argument 1');
      expect(said('counts_threads', place)).toEqual([
        'counts_threads\tn 5\tgives other bits on three threads in argument 1',
      ]);
      expect(said('fails', place)[0]).toBe('fails\tn 5\truns out of memory on threads: 1');
    }
    expect(said('reads_beyond', 'end')).toEqual(['reads_beyond\tn 5\tgoes beyond the end of argument 0']);
    expect(said('writes_beyond', 'end')).toEqual(['writes_beyond\tn 5\tgoes beyond the end of argument 1']);
    expect(said('writes_beyond', 'start')[0]).toBe('writes_beyond\tn 5\twrites near argument 1');
    expect(said('reads_before', 'start')).toEqual(['reads_before\tn 5\tgoes before the start of argument 0']);
    expect(said('writes_before', 'start')).toEqual(['writes_before\tn 5\tgoes before the start of argument 1']);
    expect(said('writes_before', 'end')[0]).toBe('writes_before\tn 5\twrites near argument 1');
  });
});

it.runIf(nativeHere.works)('native, threads that start, stop, wake and sleep at the worst moments', async () => {
  const { status, signal } = spawnSync(await compileThreads(['-O1', ...JITTER]), ['1000'], { timeout: 50_000 });
  expect(signal ?? status).toBe(0);
});

describe('canaries around each array, outputs wholly written, the same bits on 1, 2 and 3 threads', () => {
  const expected: Float32Array[][] = [];

  it.each(['simd128', 'relaxed-simd'])('wasm, %s', build => callAll(openWasm(build), cases, expected));

  it.each(here)('native, %s, and the numbers of wasm', async variant => {
    const loaded = await loadNative({ cache, instructions: variant });
    expect(loaded).toMatchObject({ works: true, library: { instructions: variant } });
    if (loaded.works) callAll(loaded.library, cases, expected);
    await loadNative({ cache }); // the best again
  });
});
