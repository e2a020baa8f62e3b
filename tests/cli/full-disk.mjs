// Loaded before the program: from 200,000 written bytes on, the disk is full.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

let left = 200_000;
for (const name of ['writeSync', 'writeFileSync']) {
  const write = fs[name];
  fs[name] = (file, data, ...rest) => {
    left -= Buffer.byteLength(data);
    if (left < 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    return write(file, data, ...rest);
  };
}
syncBuiltinESMExports();
