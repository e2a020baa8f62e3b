#!/usr/bin/env node
// Starts the program: from its TypeScript sources in a checkout, from dist/ in an installed package.
import { existsSync } from 'node:fs';

const sources = new URL('../src/cli.ts', import.meta.url);
if (existsSync(sources)) {
  const { register } = await import('tsx/esm/api');
  register();
  await import(sources.href);
} else {
  await import(new URL('../dist/src/cli.js', import.meta.url).href);
}
