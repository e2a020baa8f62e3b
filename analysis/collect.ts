// One pass over the documents of a trace for many measures: each collector adds what it needs of a block and forgets the block.
import type { Collector, DocumentBlock } from './block.ts';

/** Hands every block to every collector and returns their results by name. */
export async function collect<Results extends Record<string, unknown>>(
  blocks: AsyncIterable<DocumentBlock> | Iterable<DocumentBlock>,
  collectors: { [Name in keyof Results]: Collector<Results[Name]> },
): Promise<Results> {
  const list = Object.values<Collector<unknown>>(collectors);
  for await (const block of blocks) for (const collector of list) collector.add(block);
  const results = Object.entries<Collector<unknown>>(collectors).map(([name, collector]) => [name, collector.finish()]);
  return Object.fromEntries(results) as Results;
}

/** The same without waiting, for blocks in memory. */
export function collectNow<Result>(blocks: Iterable<DocumentBlock>, collector: Collector<Result>): Result {
  for (const block of blocks) collector.add(block);
  return collector.finish();
}
