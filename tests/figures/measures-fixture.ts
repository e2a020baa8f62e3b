// Tables of the measures over depth for the pretend models of model-fixture.ts, at its three sizes, written down and not
// measured: language information falls a little and rises late (a U with a late end), families part from each other more
// than their languages do, Hebrew and Japanese collapse in the last layers, intervals as wide as 200 parallel items give.
import type { ColumnTable } from 'arquero';
import seedrandom from 'seedrandom';
import type { TraceHeader } from '../../routing/trace.ts';
import { tableOf } from './model-fixture.ts';

type Random = () => number;
const normal = (random: Random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const present = (header: TraceHeader) => header.languages.filter(language => language.trainingBytes > 0);
/** 0 at the first layer, 1 at the last. */
const depthOf = (i: number, { moeLayers }: TraceHeader) => (moeLayers.length > 1 ? i / (moeLayers.length - 1) : 1);
const uShape = (depth: number) => 0.35 * (1 - depth) ** 4 + depth ** 5;

/** M5: language reaches a sixth of log E in the last layer; the interval is of the corrected value. */
export function informationFixture(header: TraceHeader, seed = 'information'): ColumnTable {
  const random = seedrandom(seed);
  const languages = present(header).length;
  const families = new Set(present(header).map(language => language.family)).size;
  const total = Math.log(header.numExperts);
  const rows = header.moeLayers.map((layer, i) => {
    const depth = depthOf(i, header);
    const language = languages === 1 ? 0 : total * (0.015 + 0.15 * uShape(depth) + 0.003 * random());
    const nullMean = languages === 1 ? null : total * 0.006;
    const unused = total * (0.16 - 0.09 * depth + 0.008 * normal(random));
    const family = families === 1 ? 0 : families === languages ? language : language * (0.45 + 0.2 * depth);
    const estimate = nullMean === null ? null : language - nullMean;
    const se = total * 0.0025;
    const at = (z: number) => (estimate === null ? null : Math.max(0, estimate + z * se));
    return {
      layer,
      total,
      unused,
      shared: total - unused - language,
      language,
      family,
      withinFamily: language - family,
      languages,
      families,
      ofLanguages: languages === 1 ? null : language / Math.log(languages),
      estimate,
      se: estimate === null ? null : se,
      low: at(-1.96),
      high: at(1.96),
      nullMean,
      excess: estimate,
      p: estimate === null ? null : 0.0005,
    };
  });
  return tableOf(rows, [
    ...(['layer', 'total', 'unused', 'shared', 'language', 'family', 'withinFamily', 'languages', 'families'] as const),
    ...(['ofLanguages', 'estimate', 'se', 'low', 'high', 'nullMean', 'excess', 'p'] as const),
  ]);
}

/** M4 against English: own distance per language, nearer inside English's family; a same-language baseline. */
export function divergenceFixture(header: TraceHeader, pivot = 'en', seed = 'divergence'): ColumnTable {
  const random = seedrandom(seed);
  const home = header.languages.find(language => language.code === pivot)?.family;
  const farOf = new Map(header.languages.map(({ family }) => [family, 0.75 + 0.5 * random()]));
  const rows = header.languages.flatMap(({ code, family, trainingBytes }) => {
    const far = (family === home ? 0.6 : farOf.get(family)!) * (0.9 + 0.25 * random());
    return header.moeLayers.map((layer, i) => {
      const none = trainingBytes === 0;
      const baseline = none ? null : 0.05 + 0.004 * random();
      const shape = 0.2 + 0.55 * uShape(depthOf(i, header));
      const distance = none ? null : code === pivot ? 0 : Math.min(1, 0.9 * far * shape + 0.01 * normal(random));
      const excess = distance === null || baseline === null ? null : code === pivot ? 0 : distance - baseline;
      const around = (z: number) => (distance === null || code === pivot ? distance : distance + z * 0.012);
      const js = distance === null ? null : Math.LN2 * distance ** 2;
      const normalised = distance === null ? null : Math.min(1, 1.5 * distance ** 2);
      return { layer, group: code, js, distance, normalised, baseline, excess, low: around(-1.96), high: around(1.96) };
    });
  });
  return tableOf(rows, ['layer', 'group', 'js', 'distance', 'normalised', 'baseline', 'excess', 'low', 'high']);
}

/** M2: all fall slowly with depth; Hebrew and Japanese steeply at the end. */
export function entropyFixture(header: TraceHeader, seed = 'entropy'): ColumnTable {
  const random = seedrandom(seed);
  const all = Math.log(header.numExperts);
  const rows = header.languages.flatMap(({ code, trainingBytes }) => {
    const start = 0.9 + 0.04 * random();
    const fall = 0.06 + 0.06 * random() + (code === 'he' || code === 'ja' ? 0.22 : 0);
    return header.moeLayers.map((layer, i) => {
      const h = trainingBytes === 0 ? null : start - fall * depthOf(i, header) ** 4 + 0.006 * normal(random);
      const of = (value: (h: number) => number) => (h === null ? null : value(h));
      return {
        layer,
        group: code,
        entropy: of(h => h * all),
        normalised: h,
        effective: of(h => Math.exp(h * all)),
        simpson: of(h => 0.9 * Math.exp(h * all)),
        aboveMinimum: of(h => Math.max(0, 1.3 * h - 0.3)),
        low: of(h => h - 0.01),
        high: of(h => h + 0.01),
      };
    });
  });
  const names = ['layer', 'group', 'entropy', 'normalised', 'effective', 'simpson', 'aboveMinimum', 'low', 'high'];
  return tableOf(rows, names as (keyof (typeof rows)[0] & string)[]);
}

/** M6 for one layer: places in a space where family, script and the language itself each add an axis or two. */
export function distanceFixture(header: TraceHeader, layer: number, seed = 'distance'): ColumnTable {
  const random = seedrandom(seed);
  const vector = (scale: number) => Array.from({ length: 8 }, () => scale * normal(random));
  const families = new Map(header.languages.map(({ family }) => [family, vector(0.09)]));
  const places = present(header).map(({ code, family, script }, i) => {
    const kin = i % 9 === 4 ? vector(0.09) : families.get(family)!;
    return { code, family, script, place: kin.map(x => x + 0.05 * normal(random)) };
  });
  const rows = places.flatMap((a, i) =>
    places.slice(i + 1).map(b => {
      const distance = Math.min(1, Math.hypot(...a.place.map((x, d) => x - b.place[d])));
      const treeDistance = a.family === b.family ? 1 : 2;
      const scriptDistance = a.script === b.script ? 0 : 1;
      return {
        layer,
        a: a.code,
        b: b.code,
        distance,
        treeDistance,
        scriptDistance,
        vocabularyDistance: 0.5 + 0.5 * random(),
      };
    }),
  );
  return tableOf(rows, ['layer', 'a', 'b', 'distance', 'treeDistance', 'scriptDistance', 'vocabularyDistance']);
}

/** §4 of `seeds` trained runs and their controls. */
export function spreadFixture(seeds: number, seed = 'spread'): ColumnTable {
  const random = seedrandom(seed);
  const runs = Array.from({ length: seeds > 1 ? seeds : 0 }, (_, i) => ({
    label: `seed ${i + 1}`,
    scale: 1,
    kind: 'seed',
  }));
  const kinds = [
    { label: seeds > 1 ? `mean of ${seeds} seeds` : 'this model', scale: 1, kind: 'trained' },
    ...runs,
    { label: 'untrained router', scale: 0.12, kind: 'untrained' },
    { label: 'same token ids', scale: 0.5, kind: 'lexical' },
    { label: 'same script', scale: 0.7, kind: 'same-script' },
  ];
  const contrasts = { index: 0.09, 'late-early': 0.09, 'late-middle': 0.12, 'early-middle': 0.03 };
  const rows = kinds.flatMap(({ label, kind, scale }) =>
    Object.entries(contrasts).map(([contrast, middle]) => {
      const estimate = scale * middle + 0.012 * normal(random);
      const half = 0.012 + 0.006 * random();
      return { label, kind, contrast, estimate, low: estimate - half, high: estimate + half };
    }),
  );
  return tableOf(rows, ['label', 'kind', 'contrast', 'estimate', 'low', 'high']);
}

/** Accuracy against divergence, one row per language. */
export function correlationFixture(header: TraceHeader, seed = 'correlation'): ColumnTable {
  const random = seedrandom(seed);
  const rows = present(header).map(({ code, family }) => {
    const x = 0.12 + 0.3 * random() ** 1.5;
    return { group: code, family, x, y: Math.min(0.95, 0.92 - 1.4 * x + 0.06 * normal(random)) };
  });
  return tableOf(rows, ['group', 'family', 'x', 'y']);
}
