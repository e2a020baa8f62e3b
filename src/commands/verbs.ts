// Every verb of `moe`, in the order of --help.
import type { Command } from 'commander';
import { addAnalyzeRouting } from './analyze-routing.ts';
import { addData } from './data.ts';
import { addDoctor } from './doctor.ts';
import { addEval } from './eval.ts';
import { addGenerate } from './generate.ts';
import { addInspect } from './inspect.ts';
import { addTrain } from './train.ts';
import { addUpcycle } from './upcycle.ts';

export function addVerbs(program: Command): Command {
  for (const add of [addTrain, addAnalyzeRouting, addEval, addGenerate, addUpcycle, addInspect, addData, addDoctor])
    add(program);
  return program;
}
