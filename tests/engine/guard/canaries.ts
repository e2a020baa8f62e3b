// Kernels called through a library, native or wasm, on arrays inside its own memory with canaries around them.

import { expect } from 'vitest';
import type { Library } from '../../../src/engine/library/library.ts';
import { expectClose } from '../judge.ts';
import type { ArraySlot, KernelCase, Slot } from '../kernel-cases.ts';

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

/** Runs the cases on 1 and on 2 or 3 threads: arguments respected, outputs written whole, the same bits. Outputs must be
 *  those of `expected` up to rounding, which the first library to come fills. */
export function callAll(library: Library, cases: KernelCase[], expected: Float32Array[][]): void {
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
