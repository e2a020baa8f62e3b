// The tfjs backend `webgpu`: tfjs's own WebGPU backend with our WGSL kernels beside its, on a device that we opened.

import { tf } from '../tf.ts';
import { replaceAddN } from './add-n.ts';
import { type OpenDevice, openDevice } from './device.ts';
import { type FailureLog, watchDevice } from './failure.ts';
import type { TensorData } from './gpu.ts';
import { limitIdleMemory } from './idle-memory.ts';
import './register.ts';

let opened: Promise<OpenDevice> | undefined;

/** Opens the GPU and registers the backend, once. Answers what it runs on. @throws UserError as openDevice does. */
export async function registerWebgpu(): Promise<string> {
  opened ??= open();
  return (await opened).description;
}

async function open(): Promise<OpenDevice> {
  const open = await openDevice();
  const failures = watchDevice(open.device);
  const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu');
  replaceAddN();
  tf.removeBackend('webgpu'); // the package registers one that opens a device of its own
  const backend = new WebGPUBackend(open.device, open.info);
  readWithChecks(backend, failures);
  limitIdleMemory(backend);
  tf.registerBackend('webgpu', () => backend);
  return open;
}

type Backend = InstanceType<Awaited<typeof import('@tensorflow/tfjs-backend-webgpu')>['WebGPUBackend']>;

/** Reads throw what failed on the device before them, and never wait where nothing can be waited for. What tfjs keeps of a
 *  read is dropped where a kernel has changed the tensor meanwhile. */
function readWithChecks(backend: Backend, failures: FailureLog): void {
  const read = backend.read.bind(backend);
  backend.read = async dataId => {
    const data = backend.tensorMap.get(dataId) as TensorData;
    const { writes } = data;
    try {
      return await failures.race(read(dataId));
    } finally {
      if (data.writes !== writes) data.values = null;
      failures.check();
    }
  };
  backend.readSync = dataId => {
    const { values } = backend.tensorMap.get(dataId);
    if (values === null || values === undefined) throw new Error('a tensor on the GPU cannot be read without waiting');
    return values as ReturnType<Backend['readSync']>;
  };
}
