// environment.json: what a run ran on, and a hash of every text it read, so that its figures name their data.

import { createRequire } from 'node:module';
import { arch, cpus, platform, totalmem } from 'node:os';
import type { Selection } from '../engine/backend.ts';
import type { Prepared } from '../train/prepare.ts';

export function environment(backend: Selection, { corpus, tokenizer }: Prepared): Record<string, unknown> {
  const require = createRequire(import.meta.url);
  const version = (name: string): string => (require(`${name}/package.json`) as { version: string }).version;
  return {
    node: process.version,
    platform: `${platform()} ${arch()}`,
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memoryBytes: totalmem(),
    tfjs: version('@tensorflow/tfjs'),
    backend: { name: backend.name, why: backend.why },
    vocabulary: tokenizer.vocabSize,
    corpus: corpus.manifest,
  };
}
