// tfjs keeps every freed buffer for the next tensor of exactly its size. Where sizes change with every token, as those of a
// key-value cache do, they would fill the GPU. Here they go back when more is held than tensors ever needed at once, and a slack.

/** The part of tfjs's BufferManager that is used here. */
export interface BufferManager {
  freeBuffers: Map<string, GPUBuffer[]>;
  numFreeBuffers: number;
  numBytesUsed: number;
  numBytesAllocated: number;
}

/** A quarter of what was needed at most, and this. */
const SLACK_BYTES = 256 * 2 ** 20;

/** Looks after each submission of the backend, when no waiting command uses a freed buffer. */
export function limitIdleMemory(backend: { bufferManager: unknown; submitQueue(): void }): void {
  const manager = backend.bufferManager as BufferManager;
  const submit = backend.submitQueue.bind(backend);
  let needed = 0;
  backend.submitQueue = () => {
    needed = Math.max(needed, manager.numBytesUsed);
    submit();
    if (manager.numBytesAllocated > 1.25 * needed + SLACK_BYTES) destroyFree(manager);
  };
}

function destroyFree(manager: BufferManager): void {
  for (const buffers of manager.freeBuffers.values()) {
    for (const buffer of buffers) {
      manager.numBytesAllocated -= buffer.size;
      buffer.destroy(); // the GPU finishes what it was given before
    }
    buffers.length = 0; // the list itself must stay: buffers in use look for it when they are freed
  }
  manager.numFreeBuffers = 0;
}
