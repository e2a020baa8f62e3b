// One document per language to look at beside the sums: the first with enough counted tokens, else the longest; its
// beginning is kept, the rest forgotten. Blocks as in block.ts, cut to at most n tokens.
import type { TraceHeader } from '../routing/trace.ts';
import type { Collector, DocumentBlock } from './block.ts';

/** Keeps at most `tokens` tokens of one document per language; the result is by index into header.languages. */
export function exampleCollector(header: TraceHeader, tokens = 80): Collector<Map<number, DocumentBlock>> {
  const width = header.moeLayers.length * header.expertsPerToken;
  const kept = new Map<number, { block: DocumentBlock; counted: number }>();
  return {
    add(block: DocumentBlock) {
      const before = kept.get(block.language)?.counted ?? 0;
      if (before >= tokens) return;
      const counted = block.counted.reduce((sum, one) => sum + one, 0);
      if (counted > before) kept.set(block.language, { block: beginning(block, tokens, width), counted });
    },
    finish: () => new Map([...kept].map(([language, { block }]) => [language, block])),
  };
}

/** A copy, since whoever streams blocks may use their memory again. */
function beginning(block: DocumentBlock, tokens: number, width: number): DocumentBlock {
  const { document, language, position, token, counted, expert, share } = block;
  return {
    document,
    language,
    position: position.slice(0, tokens),
    token: token.slice(0, tokens),
    counted: counted.slice(0, tokens),
    expert: expert.slice(0, tokens * width),
    share: share.slice(0, tokens * width),
  };
}
