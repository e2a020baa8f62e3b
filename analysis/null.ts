// The no-language null of M5: I(Λ;E) after language labels are shuffled over documents, inside each parallel item, so that
// content stays fixed. Few tokens make I(Λ;E) positive even when routing ignores language; this says by how much.
// Documents whose item occurs once are shuffled among themselves. p = (1 + #{null ≥ observed}) / (1 + draws).
import { type ColumnTable, from } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { budgetOf } from './information.ts';

export interface LanguageNull {
  layer: number;
  /** Mean of the shuffled I(Λ;E), nats. */
  mean: number;
  p: number;
  draws: number;
}
interface Document {
  language: number;
  item: string;
  /** Selection share per expert. */
  q: Float64Array;
}

/**
 * One row per MoE layer. `random` gives numbers in [0, 1). Languages are averaged over their documents, as in usage.ts.
 * Empty when no language has two documents: relabelling single documents changes nothing, so there is no null to draw.
 */
export function languageNull(
  slots: ColumnTable,
  header: TraceHeader,
  random: () => number,
  draws: number,
): LanguageNull[] {
  const cells = slots
    .groupby('layer', 'document', 'language', 'expert')
    .rollup({ mass: 'd => op.count()' })
    .groupby('layer', 'document')
    .derive({ q: 'd => d.mass / op.sum(d.mass)' })
    .objects() as { layer: number; document: number; language: number; expert: number; q: number }[];
  if (!anyRepeated(cells)) return [];
  return header.moeLayers.flatMap(layer => {
    const documents = new Map<number, Document>();
    for (const cell of cells) {
      if (cell.layer !== layer) continue;
      const empty = () => new Float64Array(header.numExperts);
      const { item } = header.documents[cell.document];
      const row = documents.get(cell.document) ?? { language: cell.language, item, q: empty() };
      row.q[cell.expert] = cell.q;
      documents.set(cell.document, row);
    }
    return documents.size === 0 ? [] : [{ layer, ...shuffled([...documents.values()], random, draws) }];
  });
}

/** The information table with nullMean and nullP of each layer beside it. */
export function withNull(information: ColumnTable, nulls: LanguageNull[]): ColumnTable {
  if (nulls.length === 0) return information;
  return information.join_left(from(nulls).rename({ mean: 'nullMean', p: 'nullP', draws: 'nullDraws' }), 'layer');
}

function anyRepeated(cells: { language: number; document: number }[]): boolean {
  const first = new Map<number, number>();
  return cells.some(({ language, document }) => {
    if (!first.has(language)) first.set(language, document);
    return first.get(language) !== document;
  });
}

function shuffled(documents: Document[], random: () => number, draws: number): Omit<LanguageNull, 'layer'> {
  const groups = shuffleGroups(documents);
  const labels = documents.map(document => document.language);
  const observed = informationOf(documents, labels);
  let sum = 0;
  let reached = 0;
  for (let draw = 0; draw < draws; draw++) {
    for (const group of groups) shuffleLabels(labels, group, random);
    const value = informationOf(documents, labels);
    sum += value;
    if (value >= observed - 1e-12) reached++;
  }
  return { mean: sum / draws, p: (1 + reached) / (1 + draws), draws };
}

/** Lists of document numbers among which labels may move. */
function shuffleGroups(documents: Document[]): number[][] {
  const byItem = new Map<string, number[]>();
  for (const [d, { item }] of documents.entries()) byItem.set(item, [...(byItem.get(item) ?? []), d]);
  const groups = [...byItem.values()];
  return [...groups.filter(group => group.length > 1), groups.filter(group => group.length === 1).flat()];
}

/** Fisher–Yates over the labels at these places. */
function shuffleLabels(labels: number[], places: number[], random: () => number): void {
  for (let i = places.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [labels[places[i]], labels[places[j]]] = [labels[places[j]], labels[places[i]]];
  }
}

function informationOf(documents: Document[], labels: number[]): number {
  const rows = new Map<number, { q: Float64Array; n: number }>();
  for (const [d, { q }] of documents.entries()) {
    const row = rows.get(labels[d]) ?? { q: new Float64Array(q.length), n: 0 };
    for (let e = 0; e < q.length; e++) row.q[e] += q[e];
    row.n++;
    rows.set(labels[d], row);
  }
  const means = [...rows.values()].map(({ q, n }) => q.map(value => value / n));
  const oneFamily = means.map(() => '');
  return budgetOf(means, oneFamily).language;
}
