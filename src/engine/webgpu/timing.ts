// How long the GPU itself takes, by timestamps before and after the commands: without what JavaScript takes to ask for them.

import type { Gpu } from './gpu.ts';

/** Milliseconds from the start of the first command that `work` asks for to the end of the last; null where the device has no
 *  'timestamp-query'. Waits first for everything asked for before. With more commands than are handed over
 *  at once (32 of ours, 15 of tfjs's) pauses between them count too. */
export async function gpuMilliseconds(gpu: Gpu, work: () => void): Promise<number | null> {
  const { device } = gpu;
  if (!device.features.has('timestamp-query')) return null;
  const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
  const resolved = device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const readable = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  await gpu.finished();
  mark(gpu, { querySet, endOfPassWriteIndex: 0 });
  work();
  mark(gpu, { querySet, endOfPassWriteIndex: 1 }); // the beginning of a pass may be stamped before the one before it has ended
  const encoder = gpu.backend.commandEncoder!;
  encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, readable, 0, 16);
  gpu.submit();
  await readable.mapAsync(GPUMapMode.READ);
  const [start, end] = new BigUint64Array(readable.getMappedRange());
  for (const owned of [querySet, resolved, readable]) owned.destroy();
  return Number(end - start) / 1e6;
}

/** A pass without work, between what was asked for and what will be. */
function mark({ backend }: Gpu, timestampWrites: GPUComputePassTimestampWrites): void {
  backend.endComputePassEncoder();
  backend.ensureCommandEncoderReady();
  backend.commandEncoder!.beginComputePass({ timestampWrites }).end();
}
