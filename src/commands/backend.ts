// Takes a backend on behalf of a verb: compiled kernels are kept in the person's cache folder, and use all processors.
import { availableParallelism, homedir } from 'node:os';
import { type BackendName, type Selection, selectBackend } from '../engine/backend.ts';
import { usualCache, usualHeaders } from '../engine/native/load.ts';

/** @param tryAll also try the backends that take long to try, so that each can be explained */
export function useBackend(name: BackendName, tryAll = false): Promise<Selection> {
  const native = { cache: usualCache(process.env, homedir()), headers: usualHeaders(homedir()) };
  return selectBackend(name, { native, threads: availableParallelism(), tryAll });
}
