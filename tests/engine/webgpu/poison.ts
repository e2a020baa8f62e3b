// Memory that is handed out again keeps its old numbers, so a kernel that leaves an element out may pass by luck. These fill
// what the next tensors of given shapes will get with a number that no correct result holds.

import { tf } from '../../../src/engine/tf.ts';
import { gpuOf } from '../../../src/engine/webgpu/gpu.ts';

/** An int32 that no plan and no choice of experts contains; as fp32 it is a NaN. */
export const POISON = 0x7fc0dead;

/** Poisons the memory of the next `copies` tensors of each shape: tfjs gives freed buffers of a size out again. */
export async function poison(shapes: readonly number[][], copies = 2): Promise<void> {
  const gpu = gpuOf(tf.backend());
  const tensors = shapes.flatMap(shape =>
    Array.from({ length: tf.util.sizeFromShape(shape) === 0 ? 0 : copies }, () => {
      const tensor = gpu.allocate(shape, 'int32');
      const { resource } = gpu.backend.tensorMap.get(tensor.dataId);
      const words = new Int32Array(resource!.size / 4).fill(POISON);
      gpu.device.queue.writeBuffer(resource!, 0, words);
      return tensor;
    }),
  );
  await gpu.finished();
  gpu.release(...tensors);
}
