// Part of `npm run build`: what compiled code reads beside itself goes along: the C kernels, as sources and as WebAssembly,
// and the report's style and script.
import { cpSync } from 'node:fs';

const root = new URL('../', import.meta.url);
for (const folder of ['src/engine/kernels', 'src/engine/library', 'analysis/report']) {
  cpSync(new URL(folder, root), new URL(`dist/${folder}`, root), {
    recursive: true,
    filter: path => !path.endsWith('.ts'),
  });
}
