// metrics.json: every number of the analysis in one plain object, with the view, the averaging and the version of the definitions
// (docs/measures.md). Languages without counted tokens are null, with the reason. Numbers per cell are in the CSV files.
import type { ColumnTable } from 'arquero';
import type { Contrast } from '../contrast.ts';
import type { Contrasts } from '../contrasts.ts';
import { familiesOf } from '../table.ts';
import type { Measured } from './measure.ts';
import { sentencesOf } from './story.ts';
import type { Tables } from './tables.ts';

/** Raised whenever a definition changes, so that numbers of different versions are never compared unawares. */
export const DEFINITIONS_VERSION = 2;

type Json = Record<string, unknown>;
type Row = Json & { layer: number; group: string };

/** All measures as plain JSON values. */
export function metricsOf(measured: Measured, tables: Tables): Json {
  const { header, step, pooled, counts, tokens, resampling } = measured;
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
    averaging: pooled ? 'tokens' : 'documents',
    units: 'shares 0…1, information and entropy in nats',
    resampling: { units: resampling.units.kind, typical: resampling.units.typical, words: measured.resampled },
    experts: header.expertNames,
    expertsPerToken: header.expertsPerToken,
    numLayers: header.numLayers,
    moeLayers: header.moeLayers,
    pivot: header.languages[measured.pivot].code,
    counted: {
      tokens: tokens.reduce((a, b) => a + b, 0),
      documents: pooled ? null : counts.document.length,
      droppedFirst: counts.dropped.first,
      droppedSpecial: counts.dropped.special,
    },
    verdict: sentencesOf(measured)[0],
    spread: spreadOf(measured),
    layers: layersOf(measured, tables),
    languages: languagesOf(measured, tables),
    families: familyRows(measured),
  };
}

function spreadOf({ spread, controls }: Measured): Json {
  const { verdict, reason, bands, contrasts, lastTwo, concentration, smallest } = spread;
  return {
    verdict,
    reason,
    bands,
    profile: spread.profile.map(({ plugIn, estimate, se, low, high, nullMean, excess, p, pFamily }) => {
      return plain({ plugIn, estimate, se, low, high, nullMean, excess, p, pFamily });
    }),
    contrasts: contrasts && contrastRows(contrasts),
    lastTwo: lastTwo && contrastRows(lastTwo),
    concentration: concentration && {
      verdict: concentration.verdict,
      effective: contrastRow(concentration.effective),
      nodes: contrastRow(concentration.nodes),
      overlap: contrastRow(concentration.overlap),
    },
    smallestDetectable: smallest,
    beyondUntrained: spread.beyond ?? null,
    controls: controls.map(({ kind, label, verdict, contrasts }) => {
      return { kind, label, verdict, contrasts: contrastRows(contrasts) };
    }),
  };
}

const contrastRow = ({ estimate, se, low, high, bound }: Contrast): Json => plain({ estimate, se, low, high, bound });
const contrastRows = (of: Contrasts): Json =>
  Object.fromEntries(Object.entries(of).map(([name, contrast]) => [name, contrastRow(contrast)]));

/** JSON has no NaN: unknown is null. */
const plain = (row: Json): Json =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === 'number' && !Number.isFinite(value) ? null : value,
    ]),
  );

function layersOf(measured: Measured, tables: Tables): Json[] {
  const { header, selection, gate, tokens } = measured;
  const informationAt = byLayer(tables.information);
  const nodesAt = byLayer(tables.nodes);
  const familiesAt = byLayer(tables.families);
  const obedience = tables.obedience.objects() as (Row & { chosen: number | null; mass: number | null })[];
  const localityAt = byLayer(tables.locality, row => row.group === 'all');
  const rest = { vocabulary: byLayer(tables.vocabulary), lexical: byLayer(tables.lexical) };
  const flowAt = new Map(((tables.flowInformation?.objects() ?? []) as Json[]).map(row => [row.from, row]));
  return header.moeLayers.map((layer, l) => {
    const here = obedience.filter(row => row.layer === layer && row.chosen !== null);
    const mean = (key: 'chosen' | 'mass') =>
      here.length ? here.reduce((sum, row) => sum + row[key]!, 0) / here.length : null;
    return {
      layer,
      loadShare: pooledRow(selection, l, tokens),
      gateShare: pooledRow(gate, l, tokens),
      budget: informationAt.get(layer) ?? null,
      nodes: nodesAt.get(layer) ?? null,
      families: familiesAt.get(layer) ?? null,
      ownExpert: {
        chosen: mean('chosen'),
        mass: mean('mass'),
        uniformChosen: header.expertsPerToken / header.numExperts,
        uniformMass: 1 / header.numExperts,
      },
      locality: localityAt.get(layer) ?? null,
      vocabulary: rest.vocabulary.get(layer) ?? null,
      lexical: rest.lexical.get(layer) ?? null,
      flowToNext: flowAt.get(layer) ?? null,
    };
  });
}

function byLayer(table: ColumnTable | undefined, keep: (row: Row) => boolean = () => true): Map<number, Json> {
  const rows = ((table?.objects() ?? []) as Row[]).filter(keep);
  return new Map(rows.map(({ layer, group, ...row }) => [layer, row]));
}

/** Mean of the present languages' rows, each once. */
function pooledRow({ languages, experts, q }: Measured['gate'], layer: number, tokens: Float64Array): number[] | null {
  const present = Array.from(tokens.keys()).filter(l => tokens[l] > 0);
  if (present.length === 0) return null;
  return Array.from({ length: experts }, (_, e) => {
    return present.reduce((sum, l) => sum + q[(layer * languages + l) * experts + e], 0) / present.length;
  });
}

function languagesOf(measured: Measured, tables: Tables): Json[] {
  const { header, selection, gate, tokens, counts } = measured;
  const cells = (table: ColumnTable) =>
    new Map((table.objects() as Row[]).map(({ layer, group, ...row }) => [`${layer} ${group}`, row as Json]));
  const [entropy, obedience, divergence] = [tables.entropy, tables.obedience, tables.divergence].map(cells);
  const collapse = new Map((tables.collapse.objects() as Row[]).map(({ group, ...row }) => [group, row]));
  const use = new Map(((tables.fertility?.objects() ?? []) as Row[]).map(row => [row.group, row]));
  const documents = new Float64Array(header.languages.length);
  for (const language of counts.language) documents[language]++;
  return header.languages.map(({ code, name, family, script, expert, trainingBytes }, l) => ({
    ...{ code, name, family, script, expert, zeroText: trainingBytes === 0 },
    tokens: tokens[l],
    documents: measured.pooled ? 0 : documents[l],
    ...(tokens[l] === 0 ? { reason: 'no token counted in this trace' } : {}),
    fertility: use.get(code)?.fertility ?? null,
    sharedTokens: use.get(code)?.sharedTokens ?? null,
    collapse: collapse.get(code) ?? null,
    ownExpert: header.moeLayers.map(layer => {
      const { chosen, low, high, mass } = obedience.get(`${layer} ${code}`) ?? {};
      return { layer, chosen, low, high, mass };
    }),
    layers: header.moeLayers.map((layer, m) => ({
      layer,
      loadShare: tokens[l] > 0 ? row(selection, m, l) : null,
      gateShare: tokens[l] > 0 ? row(gate, m, l) : null,
      entropy: entropy.get(`${layer} ${code}`) ?? null,
      divergence: divergence.get(`${layer} ${code}`) ?? null,
    })),
  }));
}

const row = ({ languages, experts, q }: Measured['gate'], layer: number, language: number): number[] => [
  ...q.subarray((layer * languages + language) * experts, (layer * languages + language + 1) * experts),
];

/** Mean rows of each family. */
function familyRows({ header, selection, gate, tokens }: Measured): Json[] {
  return familiesOf(header).map(family => {
    const members = Float64Array.from(header.languages, (language, l) => (language.family === family ? tokens[l] : 0));
    const layers = header.moeLayers.map((layer, m) => {
      return { layer, loadShare: pooledRow(selection, m, members), gateShare: pooledRow(gate, m, members) };
    });
    return { group: family, tokens: members.reduce((a, b) => a + b, 0), layers };
  });
}
