// Takes a backend on behalf of a verb: compiled kernels are kept in the person's cache folder, and use all processors.
import { readFileSync } from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import pc from 'picocolors';
import { BACKEND_NAMES, type BackendName, type Selection, selectBackend } from '../engine/backend.ts';
import { usualCache, usualHeaders } from '../engine/library/native.ts';
import { UserError } from '../errors.ts';
import type { Output } from './output.ts';

export interface Use {
  /** All processors when left out; every number gives the same bits. */
  threads?: number;
  /** Of products in a forward pass on webgpu. */
  precision?: 'f32' | 'f16';
  /** Also try the backends that take long to try, so that each can be explained. */
  tryAll?: boolean;
}

export function useBackend(name: BackendName, { threads, precision, tryAll = false }: Use = {}): Promise<Selection> {
  const native = {
    cache: usualCache(process.env, homedir()),
    headers: usualHeaders(homedir()),
    announce: (sentence: string) => void process.stderr.write(`${sentence}\n`),
  };
  return selectBackend(name, { native, threads: threads ?? availableParallelism(), precision, tryAll });
}

/** The backend that a resumed run goes on on: the one that it ran on, if that works here and no other was asked for, as
 *  each has bits of its own. Another one is said. */
export async function useSameBackend(
  runDir: string,
  { backend, threads }: { backend: BackendName; threads?: number },
  out: Output,
): Promise<Selection> {
  const before = recordedBackend(runDir);
  const wanted = backend === 'auto' && before ? before : backend;
  const taken = await useBackend(wanted, { threads }).catch(error => {
    if (wanted === backend || !(error instanceof UserError)) throw error;
    return useBackend(backend, { threads });
  });
  if (before && taken.name !== before) {
    out.say(
      pc.yellow(`  This run was on ${before} and goes on on ${taken.name}: not with the bits of an unbroken run.`),
    );
  }
  return taken;
}

/** What environment.json says of the backend; null when it cannot be read. */
function recordedBackend(runDir: string): BackendName | null {
  try {
    const { backend } = JSON.parse(readFileSync(join(runDir, 'environment.json'), 'utf8'));
    return BACKEND_NAMES.find(name => name === backend.name) ?? null;
  } catch {
    return null;
  }
}
