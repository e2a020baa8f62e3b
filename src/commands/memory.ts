// `--memory 4GB`: a model that is opened to be run within so much memory.
import { tmpdir } from 'node:os';
import { tf } from '../engine/tf.ts';
import { UserError } from '../errors.ts';
import type { Evaluated } from '../eval/evaluate.ts';
import { readModelFolder } from '../hub/model-folder.ts';
import { disposeModel } from '../model/weights.ts';
import { inWords } from '../stream/plan.ts';
import { storedModel } from '../stream/source.ts';
import { type OpenedModel, openForInference, withTokenizer } from '../train/open.ts';

/** How a checkpoint is opened to be evaluated: in memory, or to be read layer by layer within --memory.
 *  @param say is told what is held, once for equal passes
 *  @throws UserError for --families where the checkpoint names its own languages */
export const openFor =
  ({ memory, families }: { memory?: number; families?: string }, say: (line: string) => void) =>
  (directory: string): Omit<OpenedModel, 'model'> & { model: Evaluated } => {
    const opened = memory === undefined ? openForInference(directory) : openWithin(memory, say, directory);
    if (families === undefined || opened.map.languages.length === 0) return opened;
    closeModel(opened.model);
    throw new UserError(`${directory} names its own languages; leave --families ${families} out.`);
  };

function openWithin(budget: number, say: (line: string) => void, directory: string) {
  if (tf.getBackend() === 'webgpu')
    throw new UserError('--memory is for backends of the processor; leave it out, or choose --backend native.');
  const folder = readModelFolder(directory);
  const opened = withTokenizer(folder);
  const said = new Set<string>();
  const announce = (line: string): void => {
    if (!said.has(line)) say(`Memory ${inWords(budget)}: ${line}.`);
    said.add(line);
  };
  const model = { spec: folder.spec, stored: storedModel(folder), budget, temporary: tmpdir(), announce };
  return { ...opened, model };
}

/** Frees what is in memory of a model. */
export function closeModel(model: Evaluated): void {
  if ('weights' in model) disposeModel(model);
}
