// The grid of interventions as a picture (analysis/figures/intervention-grid.ts).
import { table } from 'arquero';
import { type InterventionCell, interventionGrid } from '../../analysis/figures/intervention-grid.ts';
import type { RoutingMode } from '../../routing/types.ts';
import type { TokenDocument } from '../data/types.ts';
import type { Evaluated } from '../eval/evaluate.ts';
import { headerOf } from '../eval/trace.ts';
import type { GridColumn, LanguageEffect } from '../intervene/grid.ts';
import type { HeldOut } from './held-out.ts';

/** SVG. A cell is hollow within two standard deviations of its random controls. */
export function drawGrid(
  columns: readonly GridColumn[],
  held: HeldOut<Evaluated>,
  documents: TokenDocument[],
  mode: RoutingMode,
): string {
  const { map, prepared, model, name, config, step } = held;
  const trainingBytes = map.languages.map(({ code }, i) =>
    prepared.zeroText.has(code) ? 0 : prepared.trainingBytes[i],
  );
  const header = headerOf({ model, map, documents, mode, run: name, modelName: config.name, trainingBytes });
  const tokens = documents.reduce((sum, { ids }) => sum + ids.length, 0);
  const code = (language: number): string => map.languages[language].code;
  const cells = columns.flatMap(({ planned, byLanguage }) =>
    byLanguage.map(effect => ({ row: code(effect.language), column: planned.target.name, ...numbersOf(effect) })),
  );
  const names: (keyof InterventionCell)[] = ['row', 'column', 'value', 'low', 'high', 'nullLow', 'nullHigh'];
  const rows = table(Object.fromEntries(names.map(key => [key, cells.map(cell => cell[key])])));
  const [{ random }] = columns;
  return interventionGrid(
    rows,
    { header, step, tokens, documents: documents.length },
    {
      targets: Object.fromEntries(columns.map(({ planned: { target } }) => [target.name, target.languages.map(code)])),
      resampling: 'jackknife over documents, from 30 on paired bootstrap, 2,000 draws',
      controls: `mean ± 2σ of ${random.draws} draws of as many random experts of like load`,
    },
  ).svg;
}

function numbersOf({ value, low, high, null: random }: LanguageEffect) {
  const [nullLow, nullHigh] = random ? [random.mean - 2 * random.sd, random.mean + 2 * random.sd] : [null, null];
  return { value, low, high, nullLow, nullHigh };
}
