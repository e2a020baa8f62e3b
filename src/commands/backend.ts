// Takes a backend on behalf of a verb: compiled kernels are kept in the person's cache folder, and use all processors.
import { availableParallelism, homedir } from 'node:os';
import { type BackendName, type Selection, selectBackend } from '../engine/backend.ts';
import { usualCache, usualHeaders } from '../engine/library/native.ts';

export interface Use {
  /** All processors when left out; every number gives the same bits. */
  threads?: number;
  /** Also try the backends that take long to try, so that each can be explained. */
  tryAll?: boolean;
}

export function useBackend(name: BackendName, { threads, tryAll = false }: Use = {}): Promise<Selection> {
  const native = {
    cache: usualCache(process.env, homedir()),
    headers: usualHeaders(homedir()),
    announce: (sentence: string) => void process.stderr.write(`${sentence}\n`),
  };
  return selectBackend(name, { native, threads: threads ?? availableParallelism(), tryAll });
}
