// Every table of an analysis, from what was measured: one arquero table per measure, written as CSV and drawn by the figures.
import { type ColumnTable, table } from 'arquero';
import seedrandom from 'seedrandom';
import type { TraceHeader } from '../../routing/trace.ts';
import { activation } from '../activation.ts';
import { coactivation } from '../coactivation.ts';
import { collapse } from '../collapse.ts';
import { distance } from '../distance.ts';
import { divergence } from '../divergence.ts';
import type { Estimate } from '../document-counts.ts';
import { entropy } from '../entropy.ts';
import { exclusive, leaning } from '../exclusive.ts';
import { agreement, familyDistance, mantelByLayer } from '../family-distance.ts';
import { fertility } from '../fertility.ts';
import { type FlowSums, flowInformation, neighbours } from '../flow.ts';
import { information } from '../information.ts';
import { itemDivergence } from '../item-divergence.ts';
import { familyLabels, scriptDistances, treeDistances, vocabularyDistances } from '../linguistic.ts';
import { locality } from '../locality.ts';
import { nodes } from '../nodes.ts';
import { obedience } from '../obedience.ts';
import { overlap } from '../overlap.ts';
import { overlapByStratum } from '../overlap-strata.ts';
import { pool } from '../pool.ts';
import { rowsToUsage } from '../rows-to-usage.ts';
import { specificity } from '../specificity.ts';
import { spreadTable } from '../spread-table.ts';
import { countsTable } from '../table.ts';
import { trajectory } from '../trajectory.ts';
import { universality } from '../universality.ts';
import { vocabulary } from '../vocabulary.ts';
import { labelsOf, type Measured } from './measure.ts';

/** Relabellings of the family and Mantel nulls. */
const PERMUTATIONS = 999;
const MANTEL = 9999;
/** Jackknife blocks of the resampling. */
const MOST_BLOCKS = 50;

export type Tables = Record<(typeof NAMES)[number], ColumnTable> &
  Partial<Record<(typeof TOKEN_NAMES)[number], ColumnTable>>;
const NAMES = [
  ...(['usage', 'gate', 'information', 'spread', 'entropy', 'nodes', 'divergence', 'distance', 'families'] as const),
  ...([
    'mantel',
    'overlap',
    'specificity',
    'universality',
    'exclusive',
    'obedience',
    'collapse',
    'training',
    'activation',
    'leaning',
    'strata',
    'purity',
  ] as const),
] as const;
const TOKEN_NAMES = [
  ...(['coactivation', 'flow', 'flowInformation', 'locality', 'vocabulary', 'lexical', 'fertility'] as const),
  'agreement',
  'itemDivergence',
] as const;

/** All tables that the trace allows; those of tokens only where it holds slots. */
export function tablesOf(measured: Measured): Tables {
  const { header, counts, selection, gate, tokens, estimates, sums, pivot } = measured;
  const usage = rowsToUsage(selection, counts, header);
  const gateUsage = rowsToUsage(gate, counts, header);
  const known = {
    tree: treeDistances(header),
    script: scriptDistances(header),
    ...(sums ? { vocabulary: vocabularyDistances(sums.use.uses.map(uses => new Set(uses.keys()))) } : {}),
  };
  const overlaps = overlap(selection, header);
  const blocks = Math.min(MOST_BLOCKS, measured.resampling.units.typical);
  const random = (what: string) => seedrandom(`${what} of ${header.run}`);
  return {
    usage,
    gate: gateUsage,
    information: information(usage, header, estimates.get('information')),
    spread: spreadTable(header.run, measured.spread, measured.controls),
    entropy: entropy(usage, header, estimates.get('entropy')),
    nodes: nodes(pool(usage, header, 'all'), header),
    divergence: divergence(selection, header, {
      pivot,
      estimates: estimates.get('distance'),
      baseline: measured.baseline,
    }),
    distance: distance(selection, header, known),
    families: familyDistance(selection, header, familyLabels(header), {
      estimates: estimates.get('families'),
      random: random('families'),
      permutations: PERMUTATIONS,
    }),
    mantel: mantelByLayer(selection, header, known, { random: random('mantel'), permutations: MANTEL }),
    overlap: overlaps,
    specificity: specificity(selection, header, { tokens, estimates: estimates.get('lift'), blocks }),
    activation: activation(selection, header, {
      pivot: header.languages[pivot].code,
      estimates: estimates.get('activation'),
      anyEstimates: estimates.get('any activation'),
      blocks,
    }),
    leaning: leaning(selection, header),
    strata: overlapByStratum(overlaps, header),
    purity: estimateTable(header.moeLayers, estimates.get('purity') ?? []),
    universality: universality(selection, header, { tokens, estimates: estimates.get('universality') }),
    exclusive: exclusive(selection, header),
    collapse: collapse(header, estimates.get('collapse') ?? []),
    obedience: obedience(usage, gateUsage, header, { chosen: estimates.get('chosen') }),
    training: trajectory(countsTable(measured.history, header), header),
    ...(counts.softmax ? { itemDivergence: itemDivergence(counts, header, { pivot, seed: header.run }) } : {}),
    ...(measured.familyMaps
      ? {
          agreement: agreement(selection, header, ...labelsOf(header, measured.familyMaps), estimates.get('agreement')),
        }
      : {}),
    ...(sums
      ? {
          coactivation: coactivation(sums.coactivation, header),
          flow: familyFlows(sums.flow, header),
          flowInformation: flowInformation(sums.flow, header),
          locality: locality(sums.locality, header),
          fertility: fertility(sums.use, header),
          vocabulary: vocabulary(sums.log, header, { random: random('vocabulary') }),
          ...(measured.lexical ? { lexical: measured.lexical } : {}),
        }
      : {}),
  };
}

/**
 * Flow between neighbouring MoE layers pooled over the languages of a family, each weighing 1, under the code of its first
 * language: by language the table would have n · E² rows per pair of layers.
 */
function familyFlows(sums: FlowSums, header: TraceHeader): ColumnTable {
  const { numExperts: E, languages } = header;
  const first = new Map<string, string>();
  for (const { family, code } of languages) if (!first.has(family)) first.set(family, code);
  const columns = { from: [] as number[], to: [] as number[], group: [] as string[] };
  const numbers = { source: [] as number[], target: [] as number[], flow: [] as number[] };
  for (const [from, to] of neighbours(header.moeLayers)) {
    const joint = sums.joint[sums.pairs.findIndex(([a, b]) => a === from && b === to)];
    for (const [family, group] of first) {
      const pooled = new Float64Array(E * E);
      for (const [l, language] of languages.entries()) {
        if (language.family !== family) continue;
        const own = joint.subarray(l * E * E, (l + 1) * E * E);
        const total = own.reduce((a, b) => a + b, 0);
        if (total > 0) for (let i = 0; i < own.length; i++) pooled[i] += own[i] / total;
      }
      for (let i = 0; i < pooled.length; i++) {
        if (pooled[i] === 0) continue;
        columns.from.push(from);
        columns.to.push(to);
        columns.group.push(group);
        numbers.source.push(Math.floor(i / E));
        numbers.target.push(i % E);
        numbers.flow.push(pooled[i]);
      }
    }
  }
  return table({ ...columns, ...numbers });
}

/** One row per layer: layer, estimate, low, high, nullMean, p; null where undefined. */
function estimateTable(layers: number[], list: Estimate[]): ColumnTable {
  const known = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);
  return table({
    layer: layers,
    estimate: layers.map((_, l) => known(list[l]?.estimate ?? null)),
    low: layers.map((_, l) => list[l]?.low ?? null),
    high: layers.map((_, l) => list[l]?.high ?? null),
    nullMean: layers.map((_, l) => list[l]?.nullMean ?? null),
    p: layers.map((_, l) => list[l]?.p ?? null),
  });
}
