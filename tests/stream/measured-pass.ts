// A process that passes 4096 tokens through a checkpoint under a budget and tells what memory that took: started by
// memory.slow.test.ts as `node --import tsx measured-pass.ts FOLDER BACKEND BUDGET`.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Batch } from '../../src/data/types.ts';
import { type BackendName, selectBackend } from '../../src/engine/backend.ts';
import { readModelFolder } from '../../src/hub/model-folder.ts';
import { streamed } from '../../src/stream/model.ts';
import { storedModel } from '../../src/stream/source.ts';

const [folder, backend, budget] = process.argv.slice(2);
const [B, S] = [8, 128];

function batchOf(number: number, vocabulary: number): Batch {
  const place_T = Int32Array.from({ length: B * S }, (_, t) => t);
  const inputId_BS = place_T.map(t => (t * 7919 + number * 104729) % vocabulary);
  return {
    batch: B,
    sequence: S,
    inputId_BS,
    label_BS: place_T.map(t => (t % S === S - 1 ? -100 : inputId_BS[t + 1])),
    language_BS: place_T.map(() => 0),
    document_BS: place_T.map(() => 0),
    position_BS: place_T.map(t => t % S),
    segment_BS: place_T.map(t => Math.floor(t / S)),
  };
}

async function measure(): Promise<void> {
  const native = { cache: join(tmpdir(), 'language-family-moe-tests') };
  await selectBackend(backend as BackendName, { native, threads: 2 });
  const stored = storedModel(readModelFolder(folder));
  const batches = [0, 1, 2, 3].map(number => batchOf(number, stored.spec.vocab_size));
  const lines: string[] = [];
  const bytes = (): number => process.resourceUsage().maxRSS * 1024;
  const before = bytes();
  const found = await streamed(
    {
      ...{ spec: stored.spec, stored, budget: budget === 'null' ? null : Number(budget), temporary: tmpdir() },
      announce: line => lines.push(line),
    },
    batches,
    { mode: 'free', expertOfLanguage: null, onRouting: () => {} },
  );
  const loss = found.map(({ loss_T }) => loss_T.reduce((sum, nats) => sum + nats, 0));
  process.stdout.write(JSON.stringify({ line: lines[0], before, most: bytes(), loss }));
}

await measure();
