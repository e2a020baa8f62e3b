// Part of `npm run build`: the C sources of the native kernels go where the compiled loader looks for them.
import { cpSync } from 'node:fs';

const from = new URL('../src/engine/native/', import.meta.url);
const to = new URL('../dist/src/engine/native/', import.meta.url);
cpSync(from, to, { recursive: true, filter: path => !path.endsWith('.ts') });
