import type { Command } from 'commander';
export function addAnalyzeRouting(_program: Command): void {}
