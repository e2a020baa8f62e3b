// Passes over held-out text under an intervention, each against the plain pass. Equal interventions are run once.
import type { Language, TokenDocument } from '../data/types.ts';
import { documentLosses, type Evaluated } from '../eval/evaluate.ts';
import type { PairedDocument } from './effect.ts';
import type { Acts } from './plan.ts';
import type { PassShape } from './usage.ts';

export interface Text {
  model: Evaluated;
  languages: Language[];
  documents: TokenDocument[];
  /** UTF-8 bytes of a document. */
  bytesOf: (document: TokenDocument) => number;
  shape: PassShape;
  /** At the tokens of which languages acts hold; absent: of all. */
  actsOn?: ReadonlySet<number>;
  /** Told when a pass begins. */
  onPass?: (done: number) => void;
}

export interface Passed {
  /** One per document, in order. */
  paired: PairedDocument[];
  /** By layer: share of tokens, at which the acts hold, whose set of experts is another than the router chose. */
  flipRate: Map<number, number>;
}

export interface Passes {
  /** Bits per byte of each document without any act. */
  plain: Float64Array;
  run: (acts: Acts) => Promise<Passed>;
}

export async function openPasses(text: Text): Promise<Passes> {
  const { model, languages, documents, bytesOf, shape, actsOn, onPass } = text;
  const before = await documentLosses(model, documents, languages, shape);
  const known = new Map<string, Promise<Passed>>();
  let done = 0;
  const pass = async (acts: Acts): Promise<Passed> => {
    onPass?.(done++);
    const flips = new Map([...acts.keys()].map(layer => [layer, { tokens: 0, flipped: 0 }]));
    const told = (layer: number, tokens: number, flipped: number): void => {
      const sum = flips.get(layer)!;
      sum.tokens += tokens;
      sum.flipped += flipped;
    };
    const after = await documentLosses(model, documents, languages, { ...shape, intervention: { acts, told }, actsOn });
    const paired = documents.map((document, d) => ({
      language: document.language,
      item: document.item,
      source: document.source,
      difference: after[d].nats - before[d].nats,
      bytes: bytesOf(document),
    }));
    const rate = ({ tokens, flipped }: { tokens: number; flipped: number }): number => flipped / Math.max(1, tokens);
    return { paired, flipRate: new Map([...flips].map(([layer, sums]) => [layer, rate(sums)])) };
  };
  return {
    plain: Float64Array.from(before, ({ nats }, d) => nats / (Math.LN2 * bytesOf(documents[d]))),
    run(acts) {
      const key = JSON.stringify([...acts]);
      if (!known.has(key)) known.set(key, pass(acts));
      return known.get(key)!;
    },
  };
}
