// `moe intervene regroup --expand N --model DIR`: how many of N new experts each layer would get by LayerMoE's rule.
import { expertNumbers, expertNumbersRoundedUp } from '../../analysis/regroup/layer-experts.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { sampleByLanguage } from '../eval/evaluate.ts';
import { layerSimilarity } from '../intervene/layer-similarity.ts';
import { disposeModel } from '../model/weights.ts';
import { openForInference } from '../train/open.ts';
import { useBackend } from './backend.ts';
import { documentsOf, openHeldOut, passShape } from './held-out.ts';
import { table } from './output.ts';

interface Options {
  model?: string;
  tokens: number;
  families?: string;
  backend: BackendName;
  threads?: number;
}

export interface Expansion {
  layers: { layer: number; similarity: number; centred: number; published: number; experts: number }[];
  lines: string[];
}

/** Numbers from the similarity as published. @throws UserError on webgpu, and where fewer than two languages have text */
export async function expand(total: number, options: Options): Promise<Expansion> {
  const { name: backend } = await useBackend(options.backend, options);
  if (backend === 'webgpu')
    throw new UserError('--expand reads hidden states, for which webgpu cannot wait: use --backend native.');
  const held = await openHeldOut(options.model, openForInference, options.families);
  try {
    const documents = sampleByLanguage(documentsOf(held, 'validation'), options.tokens);
    if (new Set(documents.map(({ language }) => language)).size < 2)
      throw new UserError(`${held.checkpoint} has validation text of one language: likeness takes two or more.`);
    const shape = { ...passShape(held), mode: 'free' as const };
    const similarity = await layerSimilarity(held.model, documents, held.map.languages, shape);
    const plain = similarity.map(layer => layer.plain);
    const [published, experts] = [expertNumbersRoundedUp(plain, total), expertNumbers(plain, total)];
    const layers = similarity.map(({ plain, centred }, layer) => ({
      ...{ layer, similarity: plain, centred },
      ...{ published: published[layer], experts: experts[layer] },
    }));
    return { layers, lines: describe(layers, total) };
  } finally {
    disposeModel(held.model);
  }
}

function describe(layers: Expansion['layers'], total: number): string[] {
  const rows = layers.map(({ layer, similarity, centred, published, experts }) => [
    ...[layer, similarity.toFixed(3), centred.toFixed(3), experts, published],
  ]);
  const sum = layers.reduce((all, { published }) => all + published, 0);
  return [
    '',
    `${total} experts over ${layers.length} layers: the less alike the languages, the more.`,
    table(['layer', 'likeness', 'less the mean', 'experts', 'rounded up'], rows, ''),
    `Rounded up, as published, they are ${sum}.`,
  ];
}
