// Memory of the wasm build: a list of free blocks over one WebAssembly.Memory, which grows when nothing fits.
// Sizes are rounded as in the pool of the native build; a freed block waits for its own size, and only when the memory
// cannot grow are neighbours joined and split again.
import { UserError } from '../../errors.ts';
import { roundedSize } from './pool.ts';

const PAGE = 65536;
const GROW_AT_LEAST = 256; // pages: 16 MiB

export interface Heap {
  /** The address of so many bytes, a multiple of 64. @throws UserError when the memory is full. */
  allocate(bytes: number): number;
  free(address: number): void;
}

export function createHeap(memory: WebAssembly.Memory, base: number): Heap {
  const sizeOf = new Map<number, number>(); // blocks in use
  let waiting = new Map<number, number[]>(); // free blocks by size
  let top = Math.ceil(base / 64) * 64;

  function fromTop(size: number): number | null {
    const missing = Math.ceil((top + size) / PAGE) - memory.buffer.byteLength / PAGE;
    if (missing > 0 && !grow(missing)) return null;
    top += size;
    return top - size;
  }

  function grow(pages: number): boolean {
    for (const more of [Math.max(pages, GROW_AT_LEAST), pages]) {
      try {
        memory.grow(more);
        return true;
      } catch {
        // less may still fit
      }
    }
    return false;
  }

  /** Joins free neighbours, then cuts the first block that is large enough; one that ends at the top gives way to it. */
  function fromJoined(size: number): number | null {
    const blocks = [...waiting].flatMap(([bytes, addresses]) => addresses.map(start => ({ start, bytes })));
    const joined: { start: number; bytes: number }[] = [];
    for (const block of blocks.sort((a, b) => a.start - b.start)) {
      const last = joined.at(-1);
      if (last && last.start + last.bytes === block.start) last.bytes += block.bytes;
      else joined.push(block);
    }
    const last = joined.at(-1);
    if (last && last.start + last.bytes === top) top = joined.pop()!.start;
    const fit = joined.find(({ bytes }) => bytes >= size);
    waiting = new Map();
    for (const { start, bytes } of joined) {
      const taken = start === fit?.start ? size : 0;
      if (bytes > taken) wait(start + taken, bytes - taken);
    }
    return fit?.start ?? fromTop(size);
  }

  function wait(address: number, size: number): void {
    if (!waiting.has(size)) waiting.set(size, []);
    waiting.get(size)!.push(address);
  }

  return {
    allocate(bytes) {
      const size = roundedSize(bytes);
      const address = waiting.get(size)?.pop() ?? fromTop(size) ?? fromJoined(size);
      if (address === null) {
        throw new UserError('The memory of the wasm backend (4 GiB) is full: use a smaller batch or --backend native.');
      }
      sizeOf.set(address, size);
      return address;
    },
    free(address) {
      wait(address, sizeOf.get(address)!);
      sizeOf.delete(address);
    },
  };
}
