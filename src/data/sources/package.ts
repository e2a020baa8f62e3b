// Finds an installed package's folder and version, whatever its `exports` say, so that its files can be read at run time.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { UserError } from '../../errors.ts';

const require = createRequire(import.meta.url);

/** Folder of an installed npm package. */
export function packageFolder(name: string): string {
  for (const modules of require.resolve.paths(name) ?? []) {
    const folder = join(modules, name);
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  throw new UserError(`the text package ${name} is not installed; run \`npm ci\`, or leave that source out`);
}

/** Version of an installed npm package. */
export function packageVersion(name: string): string {
  return JSON.parse(readFileSync(join(packageFolder(name), 'package.json'), 'utf8')).version;
}
