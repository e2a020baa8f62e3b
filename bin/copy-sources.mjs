// Part of `npm run build`: the C kernels, as sources and as WebAssembly, go where the compiled engine looks for them.
import { cpSync } from 'node:fs';

const root = new URL('../', import.meta.url);
for (const folder of ['src/engine/kernels', 'src/engine/library']) {
  cpSync(new URL(folder, root), new URL(`dist/${folder}`, root), {
    recursive: true,
    filter: path => !path.endsWith('.ts'),
  });
}
