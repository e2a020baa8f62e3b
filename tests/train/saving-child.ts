// Saves checkpoints as fast as it can until it is killed; prints each step once its checkpoint is complete.
// Arguments: run folder, first step.
import { saveCheckpoint } from '../../src/train/checkpoint.ts';
import { contentsOf } from './contents.ts';

const [runDir, first] = process.argv.slice(2);
for (let step = Number(first); ; step++) {
  // Every other step saves its forerunner's folder anew, so that replacing is killed too.
  const saved = step - (step % 2);
  await saveCheckpoint(runDir, saved, { ...contentsOf(saved, 40_000), keep: 3 });
  process.stdout.write(`${saved}\n`);
}
