// What goes wrong on a GPU shows later than where it was asked for, so it is noted when the device tells of it, and thrown
// where a result is read: no number that a refused command left behind is ever used.

import { UserError } from '../../errors.ts';

/** The GPU failed. `lost`: nothing on it can be read any more; else what was there before the failed command still can. */
export class GpuFailure extends UserError {
  readonly lost: boolean;

  constructor(sentence: string, lost: boolean) {
    super(sentence);
    this.lost = lost;
  }
}

export interface FailureLog {
  /** `answer`, or the loss of the device if that comes first: what was asked of a lost device is never answered. */
  race<T>(answer: Promise<T>): Promise<T>;
  /** @throws GpuFailure the first that was noted; one that left the device alive is thrown once. */
  check(): void;
}

const firstLine = (message: string): string => message.split('\n')[0].replace(/\.$/, '');

/** Listens to a device. `lost` is its promise of that name. */
export function watchDevice(device: Pick<GPUDevice, 'addEventListener' | 'lost'>): FailureLog {
  let noted: GpuFailure | null = null;
  device.addEventListener('uncapturederror', event => {
    event.preventDefault(); // else Dawn prints it as well
    noted ??= new GpuFailure(sentenceFor((event as GPUUncapturedErrorEvent).error), false);
  });
  const lost = device.lost.then(({ message }): never => {
    noted = new GpuFailure(`The GPU was lost (${firstLine(message)}); start again, or use another backend.`, true);
    throw noted;
  });
  lost.catch(() => {}); // told by the next read, if there is one
  return {
    race: answer => Promise.race([answer, lost]),
    check() {
      const failure = noted;
      if (failure && !failure.lost) noted = null;
      if (failure) throw failure;
    },
  };
}

function sentenceFor(error: GPUError): string {
  if (error instanceof GPUOutOfMemoryError)
    return 'The GPU has run out of memory: lower train.batch_size or data.sequence_length, or set train.gradient_checkpointing to true.';
  if (/max buffer size limit|maximum storage buffer binding size|StorageBufferBindingSize/.test(error.message))
    return `A tensor is larger than this GPU allows (${firstLine(error.message)}): lower train.batch_size or data.sequence_length, or use another backend.`;
  return `The GPU refused a command, which is a fault of this program: ${firstLine(error.message)}.`;
}
