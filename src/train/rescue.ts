// A step that fails on the GPU fails before the weights are touched: what it computes is read before the optimizer runs, and
// the optimizer needs no new memory. So the run as it was before the step is saved, where it can still be read.
import type { FamilyMap } from '../config/families.ts';
import type { Config } from '../config/schema.ts';
import type { CursorState } from '../data/types.ts';
import { GpuFailure } from '../engine/webgpu/failure.ts';
import { UserError } from '../errors.ts';
import { listCheckpoints } from './checkpoint.ts';
import type { Prepared } from './prepare.ts';
import { type RunState, saveState } from './state.ts';

export interface Rescue {
  runDir: string;
  config: Config;
  map: FamilyMap;
  prepared: Prepared;
  /** Where the data stood before the step. */
  cursor: CursorState;
}

/** Saves the run as of its last good step, unless that is on disk. @throws always: `error`, with where to go on from if the GPU failed */
export async function rescue(error: unknown, state: RunState, where: Rescue): Promise<never> {
  if (!(error instanceof GpuFailure)) throw error;
  const { runDir, config, map, prepared, cursor } = where;
  const saved = () => listCheckpoints(runDir)[0]?.step;
  if (!error.lost && saved() !== state.step)
    await saveState(runDir, state, config, map, prepared, cursor).catch(() => null); // it failed once; the sentence says what is there
  const step = saved();
  const after =
    step === undefined ? 'nothing was saved yet' : `step ${step} is saved, go on with 'moe train --resume ${runDir}'`;
  throw new UserError(`${error.message.replace(/\.$/, '')}; ${after}.`);
}
