// Every measure of a small random trace, as tables, for properties that must hold of all of them.
import type { ColumnTable } from 'arquero';
import { from } from 'arquero';
import seedrandom from 'seedrandom';
import { activation } from '../../analysis/activation.ts';
import { coactivation, coactivationAgreement, coactivationCollector } from '../../analysis/coactivation.ts';
import { collapseGaps } from '../../analysis/collapse.ts';
import { collectNow } from '../../analysis/collect.ts';
import { spreadStatistics } from '../../analysis/depth-profiles.ts';
import { distance } from '../../analysis/distance.ts';
import { divergence } from '../../analysis/divergence.ts';
import { sameLanguageDistance } from '../../analysis/divergence-baseline.ts';
import { entropy } from '../../analysis/entropy.ts';
import { exclusive, leaning } from '../../analysis/exclusive.ts';
import { familyDistance, mantelByLayer } from '../../analysis/family-distance.ts';
import { fertility, tokenUse } from '../../analysis/fertility.ts';
import { flowCollector, flowInformation, flowTable } from '../../analysis/flow.ts';
import { information } from '../../analysis/information.ts';
import { itemDivergence } from '../../analysis/item-divergence.ts';
import { lexical } from '../../analysis/lexical.ts';
import {
  familyLabels,
  scriptDistances,
  treeDistances,
  vocabularyDistances,
  vocabularySets,
} from '../../analysis/linguistic.ts';
import { locality, localityCollector } from '../../analysis/locality.ts';
import { nodes } from '../../analysis/nodes.ts';
import { obedience, purityStatistic } from '../../analysis/obedience.ts';
import { overlap } from '../../analysis/overlap.ts';
import { pool } from '../../analysis/pool.ts';
import { documentCountsOf } from '../../analysis/read/document-counts.ts';
import { blocksOf } from '../../analysis/read/stream.ts';
import { languageRows } from '../../analysis/rows.ts';
import { rowsToUsage } from '../../analysis/rows-to-usage.ts';
import { sameScript } from '../../analysis/same-script.ts';
import { overlapSums } from '../../analysis/saturation.ts';
import { specificity } from '../../analysis/specificity.ts';
import { tokenLog } from '../../analysis/token-log.ts';
import { universality } from '../../analysis/universality.ts';
import { vocabulary } from '../../analysis/vocabulary.ts';
import { TRACE_VERSION, type Trace, type TraceDocument, type TraceHeader } from '../../routing/trace.ts';
import { columnsOf } from './languages-fixture.ts';

/** Five languages, three families (one alone), two scripts, three MoE layers, 6 experts, k = 2; every token id is common. */
export function smallTrace(seed: string, items = 3): Trace {
  const random = seedrandom(seed);
  const [E, k, layers] = [6, 2, [1, 2, 3]];
  const families = ['A', 'A', 'B', 'B', 'C'];
  const languages = ['en', 'xb', 'xc', 'xd', 'xe'].map((code, i) => {
    const script = i < 3 ? 'Latn' : 'Cyrl';
    return { code, name: code, script, family: families[i], expert: i, trainingBytes: 1 };
  });
  const documents: TraceDocument[] = [];
  const rows: number[][] = [];
  const taste = languages.map(() => layers.map(() => Array.from({ length: E }, () => 1.5 * random())));
  for (let i = 0; i < items; i++) {
    for (const [l, { code }] of languages.entries()) {
      const d = documents.push({ id: `${i}/${code}`, item: `${i}`, language: code, source: 's', domain: 'd' }) - 1;
      const length = 8 + Math.floor(random() * 5);
      for (let position = 0; position < length; position++) {
        const token = Math.floor(random() * 3);
        for (const [m, layer] of layers.entries()) {
          const score = taste[l][m].map((t, e) => ({ e, score: t + random() })).sort((a, b) => b.score - a.score);
          for (let s = 0; s < k; s++) rows.push([0, d, position, token, l, layer, s, score[s].e, score[s].score]);
        }
      }
    }
  }
  const header: TraceHeader = {
    version: TRACE_VERSION,
    run: 'small',
    model: 'small',
    routing: 'free',
    numExperts: E,
    expertsPerToken: k,
    numLayers: 4,
    moeLayers: layers,
    normalised: false,
    expertNames: Array.from({ length: E }, (_, e) => `${e}`),
    languages,
    documents,
  };
  return { header, columns: columnsOf(rows), counts: [] };
}

/** Ids that occur this often take part in what is computed by token id. */
const MINIMUM = 4;

/** Tables by name. `copies`: how often each document stands in the trace, for cuts that are counts. */
export function everyMeasure(trace: Trace, copies = 1): Record<string, ColumnTable> {
  const { header } = trace;
  const random = () => seedrandom('every measure');
  const counts = documentCountsOf(trace);
  const softmax = counts.count.map((cells, l) => cells.map((slots, i) => 0.5 * slots + 0.5 * counts.gate[l][i]));
  const selection = languageRows(counts, 'selection', 'documents', header);
  const gate = languageRows(counts, 'gate', 'documents', header);
  const [usage, gateUsage] = [selection, gate].map(rows => rowsToUsage(rows, counts, header));
  const log = collectNow(blocksOf(trace), tokenLog(header));
  const flow = collectNow(blocksOf(trace), flowCollector(header, { random: random() }));
  const together = collectNow(blocksOf(trace), coactivationCollector(header));
  const tokens = new Float64Array(header.languages.length);
  for (const [d, l] of counts.language.entries()) tokens[l] += counts.tokens[d];
  const vocabularies = collectNow(blocksOf(trace), vocabularySets(header));
  const known = {
    tree: treeDistances(header),
    script: scriptDistances(header),
    vocabulary: vocabularyDistances(vocabularies),
  };
  const baseline = sameLanguageDistance(counts, header, { view: 'gate', seed: 'halves', splits: 4 });
  const agreement = overlapSums(header, null);
  const blocks = [...blocksOf(trace)];
  for (const block of blocks) {
    const others = block.expert.map((_, i) => block.expert[i - (i % 2)]);
    agreement.add(block, { ...block, expert: others });
  }
  const layered = (values: ArrayLike<number>, per: number) =>
    from(Array.from(values, (value, i) => ({ layer: header.moeLayers[Math.floor(i / per)], part: i % per, value })));
  return {
    usage,
    gateUsage,
    entropy: entropy(usage, header),
    nodes: nodes(pool(gateUsage, header, 'all'), header),
    nodesByFamily: nodes(pool(gateUsage, header, 'family'), header),
    divergence: divergence(gate, header, { baseline }),
    itemDivergence: itemDivergence({ ...counts, softmax }, header, { seed: 'items', draws: 20 }),
    information: information(usage, header),
    purity: layered(purityStatistic(familyLabels(header)).of(selection), 1),
    profiles: from(
      spreadStatistics.flatMap(({ name, of }) =>
        layered(of(gate), 1)
          .derive({ name: `d => '${name}'` })
          .objects(),
      ),
    ),
    collapse: from(Array.from(collapseGaps(selection, 0), (gap, l) => ({ group: header.languages[l].code, gap }))),
    sameScript: sameScript(selection, header),
    distance: distance(selection, header, known),
    families: familyDistance(selection, header, familyLabels(header), { random: random(), permutations: 20 }),
    mantel: mantelByLayer(selection, header, known, { random: random(), permutations: 200 }),
    overlap: overlap(gate, header),
    specificity: specificity(selection, header, { tokens }),
    universality: universality(selection, header, { tokens }),
    exclusive: exclusive(gate, header, { keep: 4 }),
    leaning: leaning(gate, header, { keep: 4, groups: familyLabels(header) }),
    activation: activation(selection, header),
    obedience: obedience(usage, gateUsage, header),
    coactivation: coactivation(together, header),
    coactivationAgreement: coactivationAgreement(together, header),
    flow: flowTable(flow, header),
    flowInformation: flowInformation(flow, header),
    locality: locality(collectNow(blocks, localityCollector(header)), header),
    vocabulary: vocabulary(log, header, { random: random(), minimum: MINIMUM * copies, draws: 2 }),
    nextVocabulary: vocabulary(log, header, { of: 'next', random: random(), minimum: MINIMUM * copies, draws: 2 }),
    lexical: lexical(log, header, { random: random(), minimum: MINIMUM * copies, draws: 4 }),
    fertility: fertility(collectNow(blocks, tokenUse(header)), header),
    saturation: agreement.table(),
  };
}
