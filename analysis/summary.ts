// metrics.json: every number of the analysis in one plain object, with the view, the averaging and the version of the
// definitions (docs of each measure stand in its own file). Languages without counted tokens are null, with the reason.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../routing/trace.ts';
import { entropy } from './entropy.ts';
import { dependence, type FlowRow } from './flow.ts';
import { information } from './information.ts';
import { nodes } from './nodes.ts';
import type { LanguageNull } from './null.ts';
import { obedience, purity } from './obedience.ts';
import { pool } from './pool.ts';
import { familiesOf } from './table.ts';
import { type Averaging, shareRows } from './usage.ts';

/** Raised whenever a definition changes, so that numbers of different versions are never compared unawares. */
export const DEFINITIONS_VERSION = 1;

export interface SummaryInput {
  header: TraceHeader;
  step: number | null;
  averaging: Averaging;
  /** Usage tables by language of the two views. */
  selection: ColumnTable;
  gate: ColumnTable;
  flows: ColumnTable;
  /** Shuffled-label null per layer; empty when the trace has no slots. */
  nulls: LanguageNull[];
  counted: { tokens: number; documents: number | null; droppedFirst: number };
}
type Json = Record<string, unknown>;

/** All measures as plain JSON values. */
export function summary(input: SummaryInput): Json {
  const { header, step, averaging, selection, gate, flows, counted } = input;
  return {
    definitions: DEFINITIONS_VERSION,
    run: header.run,
    model: header.model,
    step,
    routing: header.routing,
    views: {
      selection: 'slots of the language that chose e / its slots',
      gate: 'mean gate share of e, a token weighs 1',
    },
    averaging,
    units: 'shares 0…1, information and entropy in nats',
    experts: header.expertNames,
    expertsPerToken: header.expertsPerToken,
    numLayers: header.numLayers,
    moeLayers: header.moeLayers,
    counted,
    verdict: verdict(header),
    layers: layerRows(input),
    languages: languageRows(header, selection, gate),
    families: groupRows(header, pool(selection, header, 'family'), pool(gate, header, 'family'), familiesOf(header)),
    flows: flowRows(flows, header),
  };
}

/** What may be said about depth: Post-MoE models have no early MoE layers to compare with. */
export function verdict(header: TraceHeader): string {
  const { moeLayers, numLayers } = header;
  if (moeLayers[0] >= numLayers / 2) {
    const which = moeLayers.length === 1 ? `layer ${moeLayers[0]}` : `layers ${moeLayers[0]}–${moeLayers.at(-1)}`;
    return (
      `MoE sits only in ${which} of ${numLayers}: this model shows how languages part in the last layers, ` +
      'but not whether earlier layers would share experts; judging depth needs MoE in most layers.'
    );
  }
  return (
    'MoE layers span the depth of this model; the profile over layers is descriptive here: ' +
    'intervals and the test of late spread are not part of this version.'
  );
}

/** Per layer: load, entropy and nodes of the mean over languages, budget, own-expert shares. */
export function layerRows({
  header,
  selection,
  gate,
  nulls,
}: Pick<SummaryInput, 'header' | 'selection' | 'gate' | 'nulls'>): Json[] {
  const all = pool(selection, header, 'all');
  const allGate = pool(gate, header, 'all');
  const [h, n] = [entropy(all, header).objects() as Json[], nodes(all, header).objects() as Json[]];
  const budgets = information(selection, header).objects() as Json[];
  const own = obedience(selection, gate, header).objects() as Obedience[];
  const pure = purity(selection, header);
  return header.moeLayers.map(layer => {
    const here = own.filter(row => row.layer === layer && row.chosen !== null);
    const mean = (key: 'chosen' | 'mass') =>
      here.length ? here.reduce((sum, row) => sum + row[key]!, 0) / here.length : null;
    return {
      layer,
      loadShare: list(shareRows(all, layer).get('all')),
      gateShare: list(shareRows(allGate, layer).get('all')),
      entropy: without(h.find(row => row.layer === layer)),
      nodes: without(n.find(row => row.layer === layer)),
      budget: without(budgets.find(row => row.layer === layer)),
      languageNull: without(nulls.find(row => row.layer === layer)),
      ownExpert: {
        chosen: mean('chosen'),
        mass: mean('mass'),
        uniformChosen: header.expertsPerToken / header.numExperts,
        uniformMass: 1 / header.numExperts,
        familyPurity: pure.get(layer) ?? null,
      },
    };
  });
}
interface Obedience {
  layer: number;
  group: string;
  chosen: number | null;
  mass: number | null;
}

function languageRows(header: TraceHeader, selection: ColumnTable, gate: ColumnTable): Json[] {
  const rows = groupRows(
    header,
    selection,
    gate,
    header.languages.map(l => l.code),
  );
  const own = obedience(selection, gate, header).objects() as Obedience[];
  return header.languages.map((language, i) => {
    const ownExpert = own
      .filter(row => row.group === language.code)
      .map(({ layer, chosen, mass }) => ({ layer, chosen, mass }));
    const reason = rows[i].tokens === 0 ? { reason: 'no token counted in this trace' } : {};
    const { code, name, family, expert, trainingBytes } = language;
    return { code, name, family, expert, zeroText: trainingBytes === 0, ...rows[i], ...reason, ownExpert };
  });
}

/** Load share, entropy and nodes per layer for each named group. */
function groupRows(
  header: TraceHeader,
  selection: ColumnTable,
  gate: ColumnTable,
  groups: string[],
): (Json & { tokens: number })[] {
  const h = entropy(selection, header).objects() as Json[];
  const n = nodes(selection, header).objects() as Json[];
  const counted = selection.objects() as { group: string; layer: number; tokens: number; documents: number }[];
  const at = (rows: Json[], group: string, layer: number) =>
    rows.find(row => row.group === group && row.layer === layer);
  const shares = new Map(header.moeLayers.map(layer => [layer, [shareRows(selection, layer), shareRows(gate, layer)]]));
  return groups.map(group => {
    const { tokens = 0, documents = 0 } = counted.find(row => row.group === group) ?? {};
    const layers = header.moeLayers.map(layer => ({
      layer,
      loadShare: list(shares.get(layer)?.[0].get(group)),
      gateShare: list(shares.get(layer)?.[1].get(group)),
      entropy: at(h, group, layer)?.entropy ?? null,
      normalisedEntropy: at(h, group, layer)?.normalised ?? null,
      effectiveExperts: at(h, group, layer)?.effective ?? null,
      nodes: at(n, group, layer)?.nodes ?? null,
    }));
    return { group, tokens, documents, layers };
  });
}

/** Flow matrix of the mean language and its information, per pair of neighbouring MoE layers; mean over languages too. */
function flowRows(flows: ColumnTable, header: TraceHeader): Json[] {
  const rows = flows.objects() as FlowRow[];
  const E = header.numExperts;
  return [...new Set(rows.map(row => `${row.from} ${row.to}`))].map(pair => {
    const [from, to] = pair.split(' ').map(Number);
    const here = rows.filter(row => row.from === from && row.to === to);
    const matrices = new Map<string, number[][]>();
    const empty = () => Array.from({ length: E }, () => new Array<number>(E).fill(0));
    for (const { group, source, target, flow } of here) {
      if (!matrices.has(group)) matrices.set(group, empty());
      matrices.get(group)![source][target] += flow;
    }
    const list = [...matrices.values()];
    const joint = empty().map((row, e) => row.map((_, f) => list.reduce((sum, m) => sum + m[e][f], 0) / list.length));
    const within = list.reduce((sum, m) => sum + (dependence(m.flat(), 0, E)?.information ?? 0), 0) / list.length;
    return { from, to, joint, ...dependence(joint.flat(), 0, E), withinLanguages: within };
  });
}

const list = (q: Float64Array | null | undefined): number[] | null => (q ? [...q] : null);
function without(row: object | undefined): Json | null {
  if (!row) return null;
  const { layer, group, ...rest } = row as Json;
  return rest;
}
