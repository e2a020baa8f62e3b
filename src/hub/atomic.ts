// Whole or not at all: write beside the target under a name with `.partial`, flush files and folders to the disk, rename.
// A crash at any moment leaves the old target or the new one. Leftovers of a crash are removed at the next write of that name.
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';

export interface AtomicOptions {
  /** Ends the message about a full disk: how the work goes on once there is space. Default: run the command again. */
  goOn?: string;
}

/**
 * Fills a new folder and puts it in place of `finalDir`. An old folder of that name is moved aside first and removed last.
 * Errors: whatever `write` throws, with nothing changed; a full disk as a UserError.
 */
export async function writeFolderAtomically<T>(
  finalDir: string,
  write: (temporaryDir: string) => T | Promise<T>,
  options: AtomicOptions = {},
): Promise<T> {
  const aside = beside(finalDir, 'old');
  restore(finalDir, aside);
  return await atomically(finalDir, options, async partial => {
    makeFolder(partial);
    const result = await write(partial);
    flushTree(partial);
    if (existsSync(finalDir)) renameSync(finalDir, aside);
    try {
      renameSync(partial, finalDir);
    } catch (error) {
      restore(finalDir, aside);
      throw error;
    }
    flushFolder(dirname(resolve(finalDir)));
    rmSync(aside, { recursive: true, force: true });
    return result;
  });
}

/** The same for one file: `write` must create the file at the path it is given. */
export async function writeFileAtomically<T>(
  finalPath: string,
  write: (temporaryPath: string) => T | Promise<T>,
  options: AtomicOptions = {},
): Promise<T> {
  return await atomically(finalPath, options, async partial => {
    makeFolder(dirname(partial));
    const result = await write(partial);
    flush(partial, 'r+');
    renameSync(partial, finalPath);
    flushFolder(dirname(partial));
    return result;
  });
}

/** Runs `work` on a clean temporary path and removes it if anything goes wrong. */
async function atomically<T>(
  target: string,
  options: AtomicOptions,
  work: (partial: string) => Promise<T>,
): Promise<T> {
  const partial = beside(target, 'partial');
  rmSync(partial, { recursive: true, force: true });
  try {
    return await work(partial);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw isDiskFull(error) ? diskFull(target, options) : error;
  }
}

/** In the same folder, so that the rename stays on one disk. */
const beside = (target: string, ending: string): string =>
  join(dirname(resolve(target)), `.${basename(resolve(target))}.${ending}`);

/** After a crash between the two renames the old folder is the only one: it gets its name back. */
function restore(finalDir: string, aside: string): void {
  if (!existsSync(aside)) return;
  if (existsSync(finalDir)) rmSync(aside, { recursive: true });
  else renameSync(aside, finalDir);
}

const isDiskFull = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException | null)?.code ?? '');

function diskFull(target: string, { goOn = 'run the command again' }: AtomicOptions): UserError {
  return new UserError(`the disk that holds ${target} is full: nothing there was changed; free space and ${goOn}.`);
}

function flushTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) flushTree(path);
    else if (entry.isFile()) flush(path, 'r+');
  }
  flushFolder(folder);
}

/** The names in a folder. Windows neither needs nor allows it. */
function flushFolder(folder: string): void {
  if (process.platform !== 'win32') flush(folder, 'r');
}

function flush(path: string, flags: 'r' | 'r+'): void {
  const file = openSync(path, flags);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
