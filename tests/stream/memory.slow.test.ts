// A model of 450 MB under a budget of 100 MB, in a process of its own: what that takes from the system beside what it has
// when it starts stays below the budget and what Node may leave lying before it collects.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nativeHere } from '../engine/backends.ts';

const MAKE = fileURLToPath(new URL('../../bench/make-checkpoint.mjs', import.meta.url));
const CHILD = fileURLToPath(new URL('measured-pass.ts', import.meta.url));
const shape = {
  ...{ model_type: 'upcycling-qwen2-moe', vocab_size: 4096, hidden_size: 512, intermediate_size: 1536 },
  ...{ num_hidden_layers: 8, num_attention_heads: 8, num_key_value_heads: 2, max_position_embeddings: 512 },
  ...{ num_experts: 7, num_experts_per_tok: 2, moe_intermediate_size: 1536, mlp_only_layers: [0, 1] },
  ...{ tie_word_embeddings: true, hidden_act: 'silu', initializer_range: 0.02, eos_token_id: 256 },
};
/** V8 collects array buffers when 64 MiB of them have become garbage; 32 MiB are kernels' own at most. */
const NODE = 96 * 2 ** 20;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moe-large-'));
  writeFileSync(join(folder, 'shape.json'), JSON.stringify(shape));
  execFileSync(process.execPath, [MAKE, '--config', join(folder, 'shape.json'), '--out', folder, '--dtype', 'f32']);
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Measured {
  line: string;
  before: number;
  most: number;
  loss: number[];
}
function measure(backend: string, budget: number | null): Measured {
  const args = ['--import', 'tsx', CHILD, folder, backend, String(budget)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

test.each(nativeHere.works ? ['native', 'wasm'] : ['wasm'])('100 and 60 MB on %s', backend => {
  const free = measure(backend, null);
  for (const budget of [100e6, 60e6]) {
    const { line, before, most, loss } = measure(backend, budget);
    expect(most - before, line).toBeLessThan(budget + NODE);
    expect(loss).toEqual(free.loss);
  }
  expect(measure(backend, 60e6).line).toMatch(/^\d of 7 experts of a layer at a time .* on disk/);
});
