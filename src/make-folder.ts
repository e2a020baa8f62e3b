// As mkdir -p. Node's own never returns for a folder that cannot be, such as one in /proc.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UserError } from './errors.ts';

/** Makes a folder and those above it; nothing if it is there. Throws what mkdir throws, and a UserError where the
 *  system has no room for folders. */
export function makeFolder(path: string): void {
  const isThere = (): boolean => existsSync(path) && statSync(path).isDirectory();
  if (isThere()) return;
  if (!existsSync(path)) makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if (isThere()) return; // another process was faster
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new UserError(`The folder ${path} cannot be made where it is; choose another place.`);
  }
}
