import type { Command } from 'commander';
export function addUpcycle(_program: Command): void {}
