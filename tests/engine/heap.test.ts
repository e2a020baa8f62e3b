// Memory of the wasm build against a model: whatever is allocated and freed in whatever order, blocks never overlap, and
// an allocation fails only when no gap is wide enough.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createHeap, type Heap } from '../../src/engine/library/heap.ts';
import { roundedSize } from '../../src/engine/library/pool.ts';
import { UserError } from '../../src/errors.ts';

const PAGE = 65536;
const BASE = 1000; // not aligned
const START = 1024;

/** A memory of the kind that WebAssembly gives, without the memory. */
function pages(most: number) {
  let count = 1;
  const memory = {
    get buffer() {
      return { byteLength: count * PAGE } as SharedArrayBuffer;
    },
    grow(more: number) {
      if (count + more > most) throw new RangeError('Maximum memory size exceeded');
      count += more;
      return count - more;
    },
  };
  return memory as unknown as WebAssembly.Memory;
}

/** Blocks in use, with the bytes that were asked for. */
class Model {
  readonly blocks: { address: number; bytes: number }[] = [];
  readonly heap: Heap;
  readonly memory: WebAssembly.Memory;
  readonly most: number;

  constructor(most: number) {
    this.most = most;
    this.memory = pages(most);
    this.heap = createHeap(this.memory, BASE);
  }

  allocate(bytes: number): void {
    let address: number;
    try {
      address = this.heap.allocate(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      expect(this.widestGap(), `no room for ${bytes}`).toBeLessThan(roundedSize(bytes));
      return;
    }
    expect(address % 64).toBe(0);
    expect(address).toBeGreaterThanOrEqual(BASE);
    expect(address + bytes).toBeLessThanOrEqual(this.memory.buffer.byteLength);
    for (const other of this.blocks) {
      const apart = address + bytes <= other.address || other.address + other.bytes <= address;
      expect(apart, `${address} + ${bytes} lies in ${other.address} + ${other.bytes}`).toBe(true);
    }
    this.blocks.push({ address, bytes });
  }

  free(which: number): void {
    if (this.blocks.length === 0) return;
    const [{ address }] = this.blocks.splice(which % this.blocks.length, 1);
    this.heap.free(address);
  }

  private widestGap(): number {
    let [at, widest] = [START, 0];
    for (const { address, bytes } of this.blocks.sort((a, b) => a.address - b.address)) {
      widest = Math.max(widest, address - at);
      at = address + roundedSize(bytes);
    }
    return Math.max(widest, this.most * PAGE - at);
  }
}

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ bytes: fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ max: 90_000, min: 0 })) }),
  },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
);
const steps = fc.array(step, { minLength: 1, maxLength: 120 });

function run(model: Model, list: ({ bytes: number } | { free: number })[]): void {
  for (const each of list) {
    if ('bytes' in each) model.allocate(each.bytes);
    else model.free(each.free);
  }
}

describe('random allocations', () => {
  it.each([1, 3, 8, 1000])('in at most %i pages', most => {
    fc.assert(
      fc.property(steps, list => run(new Model(most), list)),
      { numRuns: 150, seed: 5 },
    );
  });

  it('all that is freed can be had again as one block', () => {
    fc.assert(
      fc.property(steps, list => {
        const model = new Model(4);
        run(model, list);
        while (model.blocks.length > 0) model.free(0);
        model.allocate(3.75 * PAGE); // a rounded size; with the next one and the base it would be too much
        expect(model.blocks).toHaveLength(1);
      }),
      { numRuns: 100, seed: 6 },
    );
  });
});

it('a freed block is the next of its size, and the memory does not grow for it', () => {
  const memory = pages(1000);
  const heap = createHeap(memory, BASE);
  const [a, b] = [heap.allocate(100_000), heap.allocate(5000)];
  const size = memory.buffer.byteLength;
  for (let i = 0; i < 500; i++) {
    heap.free(a);
    expect(heap.allocate(99_000)).toBe(a); // of one rounded size
    heap.free(b);
    expect(heap.allocate(5000)).toBe(b);
  }
  expect(memory.buffer.byteLength).toBe(size);
});

it('grows by a lot at a time, and by less where that is too much', () => {
  const memory = pages(300);
  const heap = createHeap(memory, BASE);
  heap.allocate(PAGE);
  expect(memory.buffer.byteLength).toBe(257 * PAGE);
  heap.allocate(270 * PAGE);
  expect(memory.buffer.byteLength).toBeLessThanOrEqual(300 * PAGE);
});

it('full: one sentence that says how to mend it, and the rest can still be had', () => {
  const heap = createHeap(pages(2), BASE);
  expect(() => heap.allocate(3 * PAGE)).toThrow(
    'The memory of the wasm backend (4 GiB) is full: use a smaller batch or --backend native.',
  );
  expect(heap.allocate(PAGE)).toBe(START);
});
