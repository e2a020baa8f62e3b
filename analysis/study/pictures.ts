// Which figures an analysis draws, in the order and under the headings of the report. A figure that the trace cannot fill is left out.

import { documentTokens } from '../document-tokens.ts';
import { budget } from '../figures/budget.ts';
import { type Provenance, pickLayers } from '../figures/caption.ts';
import { coactivationPicture } from '../figures/coactivation.ts';
import { distance } from '../figures/distance.ts';
import { divergence } from '../figures/divergence.ts';
import { flowPicture } from '../figures/flow.ts';
import { heatmap } from '../figures/heatmap.ts';
import { pathsPicture } from '../figures/paths.ts';
import { ridges } from '../figures/ridges.ts';
import { specialists } from '../figures/specialists.ts';
import { spread } from '../figures/spread.ts';
import { strip } from '../figures/strip.ts';
import type { Figure } from '../figures/svg.ts';
import { tokenStrip } from '../figures/tokens.ts';
import { training } from '../figures/training.ts';
import { flowTable, neighbours } from '../flow.ts';
import type { Section } from '../report/report.ts';
import type { Measured } from './measure.ts';
import type { Tables } from './tables.ts';
import { MOST_FLOW_LAYERS } from './token-sums.ts';

export interface PictureOptions {
  /** Order of the experts in the flow picture; see figures/flow.ts. */
  order?: 'barycentre' | 'entropic' | 'fixed';
}

/** Sections of the report with their figures. */
export function sectionsOf(measured: Measured, tables: Tables, options: PictureOptions = {}): Section[] {
  const { header, sums, pivot, resampled, resampling } = measured;
  const source = sourceOf(measured);
  const averaging = measured.pooled ? ('tokens' as const) : ('documents' as const);
  const words = { view: 'selection' as const, averaging, ...(resampling.reason ? {} : { resampling: resampled }) };
  const code = header.languages[pivot].code;
  const verdict = measured.spread.contrasts ? measured.spread.verdict : undefined;
  const drawn = neighbours(pickLayers(header.moeLayers, MOST_FLOW_LAYERS));
  const flows = sums ? flowTable(sums.flow, header, drawn) : null;
  const curve = training(tables.training, source);
  const sections: Section[] = [
    {
      title: 'What decides the expert',
      words:
        'Of all that could decide which expert serves a token (log E), some is lost to uneven load, some is choice that has nothing to do with language, and the rest is language.',
      figures: [
        budget(tables.information, source, { ...words, verdict }),
        ...(measured.spread.contrasts ? [spread(tables.spread, source, { ...words, verdict })] : []),
      ],
    },
    {
      title: 'Where languages go',
      words:
        'Languages on the left; the experts of each drawn layer to the right. Only routing that was counted is drawn.',
      figures: [
        ...(flows
          ? [
              flowPicture(tables.gate, flows, source, {
                averaging,
                order: options.order,
                universality: tables.universality,
              }),
            ]
          : []),
        heatmap(tables.usage, source, words),
        ...(tables.flow && header.moeLayers.length > 1 ? [pathsPicture(tables.flow, source, { averaging })] : []),
      ],
    },
    {
      title: 'What each expert is for',
      words:
        'Experts that serve every language alike are universal, those that one family uses far more than the others are its specialists.',
      figures: [
        specialists(tables.universality, source, words),
        ...(tables.coactivation && header.expertsPerToken > 1
          ? [coactivationPicture(tables.coactivation, tables.universality, source, words)]
          : []),
      ],
    },
    ...examples(measured, tables, source),
    {
      title: 'How far languages are apart',
      words: 'Distance of each language’s choice of experts from that of the pivot, layer by layer.',
      figures: [
        strip(tables.divergence, source, { ...words, pivot: code }),
        divergence(tables.divergence, source, { ...words, pivot: code }),
        distance(tables.distance, source, words),
      ],
    },
    {
      title: 'How many experts serve a language',
      words: 'Entropy of a language’s choice: high where it uses many experts evenly, low where few serve it.',
      figures: [ridges(tables.entropy, source, { ...words, pivot: code })],
    },
    {
      title: 'Over training',
      words: 'Recorded on validation text while the model was trained.',
      figures: curve ? [curve] : [],
    },
  ];
  return sections.filter(({ figures }) => figures.length > 0);
}

export function sourceOf({ header, step, tokens, counts, pooled }: Measured): Provenance {
  const documents = pooled ? null : counts.document.length;
  return { header, step, tokens: tokens.reduce((a, b) => a + b, 0), documents };
}

export const figuresOf = (sections: Section[]): Figure[] => sections.flatMap(({ figures }) => figures);

/** Languages with a token strip: the pivot, and the largest languages of other families. */
const STRIPS = 3;

/** The beginning of one document in a few languages, coloured by expert. */
function examples(
  { header, sums, pivot, tokens, vocabulary }: Measured,
  tables: Tables,
  source: Provenance,
): Section[] {
  if (!sums) return [];
  const byFamily = new Map([[header.languages[pivot].family, pivot]]);
  for (const [l, { family }] of header.languages.entries()) {
    if (!byFamily.has(family) && tokens[l] > 0) byFamily.set(family, l);
  }
  const figures = [...byFamily.values()].slice(0, STRIPS).flatMap(l => {
    const block = sums.examples.get(l);
    if (!block) return [];
    const words = { language: header.languages[l], document: header.documents[block.document].id };
    const figure = tokenStrip(documentTokens(block, header, vocabulary), tables.universality, source, words);
    return [{ ...figure, name: `tokens-${header.languages[l].code}` }];
  });
  const title = 'Token by token';
  const words =
    'Beginnings of documents, each token in the colours of the experts it chose first; pick a layer above to paint the tokens by it.';
  return [{ title, words, figures }];
}
