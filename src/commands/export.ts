// `moe export`: a checkpoint as a folder that other programs load.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { provenanceOf } from '../hub/export/provenance.ts';
import { type ExportDtype, exportModel, type Target } from '../hub/export/write-export.ts';
import { readModelFolder } from '../hub/model-folder.ts';
import { STATE_FILE, verifyCheckpoint } from '../train/trainer-state.ts';
import { createOutput, thousands } from './output.ts';
import { findCheckpoint } from './runs.ts';

interface Options {
  to: Target;
  out: string;
  dtype?: 'f32' | 'bf16' | 'f16';
  /** Bytes. */
  maxShardSize: number;
  json?: boolean;
}

export async function exportCheckpoint(path: string, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  if (existsSync(options.out)) throw new UserError(`--out ${options.out} exists already; choose another folder.`);
  const { checkpoint, run } = findCheckpoint(path);
  // One that was named itself has not been looked at yet, and a damaged byte must not go on under a fresh hash.
  if (checkpoint === path && existsSync(join(checkpoint, STATE_FILE))) verifyCheckpoint(checkpoint);
  const folder = readModelFolder(checkpoint);
  const dtype = options.dtype === undefined ? null : (options.dtype.toUpperCase() as ExportDtype);
  const provenance = provenanceOf(folder, run);
  const done = await exportModel(folder, options.out, {
    target: options.to,
    dtype,
    mostBytes: options.maxShardSize,
    provenance,
  });
  const files = `${done.files.length} ${done.files.length === 1 ? 'file' : 'files'}`;
  out.say(`${options.out}: ${done.modelType}, ${done.tensors} tensors, ${thousands(done.bytes)} bytes in ${files}.`);
  if (!existsSync(join(checkpoint, 'tokenizer.json')))
    out.say(`${checkpoint} has no tokenizer.json, so the export has none: copy the tokenizer's files beside it.`);
  out.say(howToLoad(options));
  out.result({ out: options.out, checkpoint, ...done });
}

function howToLoad({ to, out }: Options): string {
  if (to === 'qwen2-moe') return `Load it with: AutoModelForCausalLM.from_pretrained('${out}')`;
  if (to === 'apollo')
    return `Load it with moe, or put the published Apollo-MoE's two Python files beside it: from_pretrained('${out}', trust_remote_code=True)`;
  return `Load it with: moe generate ${out} --prompt TEXT`;
}
