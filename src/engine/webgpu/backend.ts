// The tfjs backend `webgpu`: tfjs's own WebGPU backend with our WGSL kernels beside its, and with what went wrong on the GPU said
// in one sentence instead of a later wrong number.

import { UserError } from '../../errors.ts';
import { tf } from '../tf.ts';
import { type OpenDevice, openDevice } from './device.ts';
import './register.ts';

/** What has gone wrong on the device, in the words of a UserError; null while all is well. */
let failure: string | null = null;

/** Opens the GPU and registers the backend, once. Answers what it runs on. @throws UserError as openDevice does. */
export async function registerWebgpu(): Promise<string> {
  opened ??= open();
  return (await opened).description;
}

let opened: Promise<OpenDevice> | undefined;

async function open(): Promise<OpenDevice> {
  const open = await openDevice();
  watch(open.device);
  const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu');
  tf.removeBackend('webgpu'); // the package registers one that opens a device of its own
  const backend = new WebGPUBackend(open.device, open.info);
  const read = backend.read.bind(backend);
  backend.read = async dataId => {
    refuseAfterFailure();
    const values = await read(dataId).catch(error => {
      refuseAfterFailure();
      throw error;
    });
    refuseAfterFailure();
    return values;
  };
  backend.readSync = dataId => {
    const { values } = backend.tensorMap.get(dataId) as { values: ReturnType<typeof backend.readSync> | null };
    if (values === null || values === undefined) throw new Error('a tensor on the GPU cannot be read without waiting');
    return values;
  };
  tf.registerBackend('webgpu', () => backend);
  return open;
}

function refuseAfterFailure(): void {
  if (failure) throw new UserError(failure);
}

function watch(device: GPUDevice): void {
  device.addEventListener('uncapturederror', event => {
    const { error } = event as GPUUncapturedErrorEvent;
    failure ??=
      error instanceof GPUOutOfMemoryError
        ? 'The GPU has run out of memory: lower train.batch_size or data.sequence_length, or set train.gradient_checkpointing.'
        : `The GPU refused a command, a fault of this program: ${error.message.split('\n')[0]}`;
  });
  void device.lost.then(({ reason, message }) => {
    if (reason !== 'destroyed')
      failure ??= `The GPU was lost (${message.split('\n')[0]}); start again, or use another backend.`;
  });
}
