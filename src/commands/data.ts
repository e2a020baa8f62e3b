import type { Command } from 'commander';
export function addData(_program: Command): void {}
