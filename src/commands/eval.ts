import type { Command } from 'commander';
export function addEval(_program: Command): void {}
