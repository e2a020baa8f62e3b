// tfjs keeps the buffers of disposed tensors for later ones of the same size. Work of many sizes must give them back.
// Reaches into the buffer manager of tfjs-backend-webgpu 4.22.0.

import type { Gpu } from './gpu.ts';

interface BufferManager {
  freeBuffers: Map<string, GPUBuffer[]>;
  numFreeBuffers: number;
  numBytesAllocated: number;
}

/** Destroys all buffers that no tensor has, once everything asked for has run. */
export async function dropFreeBuffers(gpu: Gpu): Promise<void> {
  await gpu.finished();
  const manager = gpu.backend.bufferManager as unknown as BufferManager;
  for (const buffers of manager.freeBuffers.values()) {
    for (const buffer of buffers.splice(0)) {
      buffer.destroy();
      manager.numFreeBuffers--;
      manager.numBytesAllocated -= buffer.size;
    }
  }
}
