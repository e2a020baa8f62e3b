// No kernel touches a number outside of its arguments, writes an input, leaves part of an output unwritten, or computes
// other bits on more threads; and all builds compute the same numbers up to rounding. Random calls of every kernel:
// native with pages beside each array that may not be touched, wasm and native with canaries around each array.
// safety.slow.test.ts has more calls, and the sanitizers.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import seedrandom from 'seedrandom';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Library } from '../../src/engine/library/library.ts';
import { loadNative } from '../../src/engine/library/native.ts';
import { openWasm } from '../../src/engine/library/wasm.ts';
import { cache, nativeHere } from './backends.ts';
import { compileRunner, complaints, VARIANTS } from './guard/guard.ts';
import { expectClose } from './judge.ts';
import { type ArraySlot, CALLS, casesOf, type KernelCase, type Slot } from './kernel-cases.ts';

const CASES_EACH = 20;
const random = seedrandom('safety');
const cases = Object.keys(CALLS).flatMap(kernel => casesOf(kernel, CASES_EACH, random));
const instructions = nativeHere.works ? await Promise.all(VARIANTS.map(runsHere)) : [];
const here = VARIANTS.filter((_, i) => instructions[i]);

async function runsHere(instructions: string): Promise<boolean> {
  return (await loadNative({ cache, instructions })).works;
}

it('every kernel of kernels.c has its calls', () => {
  const source = readFileSync(join(import.meta.dirname, '../../src/engine/kernels/kernels.c'), 'utf8');
  const list = /#define EACH_KERNEL\(X\)((?:.*\\\n)*.*)/.exec(source)![1];
  const kernels = [...list.matchAll(/X\((\w+)\)/g)].map(([, name]) => name);
  expect(kernels.length).toBeGreaterThan(20);
  expect(Object.keys(CALLS).sort()).toEqual(kernels.sort());
});

describe.runIf(nativeHere.works)('native, pages that may not be touched beside each array', () => {
  let program: string;
  beforeAll(async () => {
    program = await compileRunner({ flags: ['-O1'] });
  });

  it.each(here)('%s', variant => {
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

/** A call of a kernel of guard/broken.c. */
function brokenCase(kernel: string): KernelCase {
  const [values, output] = [new Float32Array(5).fill(2), new Float32Array(5)];
  return { kernel, shape: 'n 5', slots: [{ role: 'input', values }, { role: 'output', values: output }, 5] };
}

const MARGIN = 37; // numbers, so that arrays begin at odd places
const CANARY = 0x7fc0dead; // a NaN: read into a sum, it shows

/** An array inside memory of the library, with canaries around it. An output begins as canaries, too. */
function place(library: Library, { role, values }: ArraySlot) {
  if (!(values instanceof Float32Array)) return { role, memory: null, values };
  const memory = library.allocate(values.length + 2 * MARGIN);
  const bits = new Uint32Array(memory.buffer, memory.byteOffset, memory.length).fill(CANARY);
  const inside = memory.subarray(MARGIN, MARGIN + values.length);
  if (role !== 'output') inside.set(values);
  return { role, memory: { floats: memory, bits }, values: inside };
}
type Placed = ReturnType<typeof place>;

/** What is wrong with an array after the call. */
function wrong({ role, memory, values }: Placed, given: ArraySlot): string[] {
  if (!memory) return [];
  const end = memory.bits.length - MARGIN;
  const alive = memory.bits.every((word, i) => (i >= MARGIN && i < end) || word === CANARY);
  const said = alive ? [] : ['writes outside'];
  if (role === 'input' && !values.every((value, i) => value === given.values[i])) said.push('changes an input');
  if (role !== 'input' && !(values as Float32Array).every(Number.isFinite))
    said.push('leaves or makes what is no number');
  return said;
}

/** Runs a case; its outputs, and what is wrong. */
function call(library: Library, { kernel, slots }: KernelCase): { outputs: Float32Array[]; said: string[] } {
  const isArray = (slot: Slot): slot is ArraySlot => typeof slot !== 'number' && !Array.isArray(slot);
  const given = slots.flat().filter(slot => isArray(slot));
  const placed = new Map(given.map(slot => [slot, place(library, slot)]));
  const valuesOf = (slot: ArraySlot) => placed.get(slot)!.values;
  library.call(
    kernel,
    slots.map(slot => {
      if (typeof slot === 'number') return slot;
      return Array.isArray(slot) ? slot.map(item => valuesOf(item) as Float32Array) : valuesOf(slot);
    }),
  );
  const outputs = given.filter(({ role }) => role !== 'input').map(slot => valuesOf(slot).slice() as Float32Array);
  const said = given.flatMap(slot => wrong(placed.get(slot)!, slot));
  for (const { memory } of placed.values()) if (memory) library.free(memory.floats);
  return { outputs, said };
}

const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

describe('canaries around each array, outputs wholly written, the same bits on 1, 2 and 3 threads', () => {
  const expected: Float32Array[][] = [];

  async function run(library: Library): Promise<void> {
    cases.forEach((each, i) => {
      const label = `${each.kernel}: ${each.shape}`;
      library.setThreads(1);
      const { outputs, said } = call(library, each);
      expect(said, label).toEqual([]);
      library.setThreads(2 + (i % 2));
      const again = call(library, each).outputs;
      expected[i] ??= outputs;
      for (const [n, output] of outputs.entries()) {
        expect(Buffer.compare(bytesOf(output), bytesOf(again[n])), `${label}: other bits on more threads`).toBe(0);
        expectClose(`${label}: output ${n}`, output, expected[i][n], 2e-5);
      }
    });
    library.setThreads(1);
  }

  it.each(['simd128', 'relaxed-simd'])('wasm, %s', build => run(openWasm(build)));

  it.each(here)('native, %s, and the numbers of wasm', async variant => {
    const loaded = await loadNative({ cache, instructions: variant });
    expect(loaded).toMatchObject({ works: true, library: { instructions: variant } });
    if (loaded.works) await run(loaded.library);
    await loadNative({ cache });
  });
});
