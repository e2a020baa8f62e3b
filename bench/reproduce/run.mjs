// Reproduces "Spread out in the end" at laptop scale:  node bench/reproduce/run.mjs [train|measure|collect] [--only …] [--jobs 2]
import { register } from 'tsx/esm/api';

register();
await (await import('./reproduce.ts')).main(process.argv.slice(2));
