// Logits of a model folder, one sequence after the other.
import { readModelFolder, readTensors } from '../../../src/hub/model-folder.ts';
import { forward } from '../../../src/model/transformer.ts';
import { createModel, disposeModel } from '../../../src/model/weights.ts';
import { sequenceInput, tidied, valuesOf } from '../../model/toy.ts';

/** [S, V] of each sequence of ids. */
export function logitsOf(directory: string, sequences: number[][]): Float32Array[] {
  const folder = readModelFolder(directory);
  const model = createModel(folder.spec, readTensors(folder, { halves: false }));
  const out = sequences.map(ids =>
    tidied(() => valuesOf(forward(model, sequenceInput(ids), { mode: 'free' }).logits_TV)),
  );
  disposeModel(model);
  return out;
}
