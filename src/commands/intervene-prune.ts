// `moe intervene prune`: scores experts on validation text, writes the checkpoint without the least of them, reads it back, and
// compares it on test text with the whole model and with that model under a mask, whose logits it must have to the last bit.
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import seedrandom from 'seedrandom';
import type { TokenDocument } from '../data/types.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { type DocumentLoss, documentLosses, sampleByLanguage } from '../eval/evaluate.ts';
import { provenanceOf } from '../hub/export/provenance.ts';
import { hashWeights } from '../hub/hash-weights.ts';
import { readModelFolder } from '../hub/model-folder.ts';
import { type Effect, effectOf } from '../intervene/effect.ts';
import { outputScores } from '../intervene/output-scores.ts';
import { type Budget, keptExperts } from '../intervene/prune-budget.ts';
import { type Kept, refuseUnprunable, writePruned } from '../intervene/prune-model.ts';
import { pruneScores, type Score } from '../intervene/prune-scores.ts';
import { measureUsage, type PassShape } from '../intervene/usage.ts';
import { countParameters } from '../model/count.ts';
import { disposeModel, type Model } from '../model/weights.ts';
import { openForInference } from '../train/open.ts';
import { useBackend } from './backend.ts';
import { documentsOf, type HeldOut, openHeldOut, passShape } from './held-out.ts';
import { refuseDense } from './intervene.ts';
import { familiesOf, readTargets } from './intervene-options.ts';
import { interval } from './intervene-tables.ts';
import { createOutput, table, thousands } from './output.ts';

interface Options {
  out: string;
  share: number;
  by: Score;
  budget: Budget['kind'];
  least?: number;
  targets?: string;
  tokens: number;
  families?: string;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

export async function prune(run: string | undefined, options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  if (existsSync(options.out)) throw new UserError(`--out ${options.out} exists already; choose another folder.`);
  if (options.share >= 1)
    throw new UserError(`--share ${options.share} would drop every expert; give a share below 1.`);
  const { name: backend } = await useBackend(options.backend, options);
  if (backend === 'webgpu')
    throw new UserError('Experts are masked on the host, for which webgpu cannot wait: use --backend native.');
  const held = await openHeldOut(run, openForInference, options.families);
  try {
    refuseDense(held);
    refuseUnprunable(held.model.spec);
    const kept = await choose(held, options);
    await write(held, kept, options);
    const compared = await compare(held, kept, options);
    for (const line of describe(held, kept, compared, options)) out.say(line);
    const parameters = countParameters(compared.spec);
    out.result({
      out: options.out,
      kept: Object.fromEntries(kept),
      identical: compared.identical,
      parameters,
      languages: compared.rows,
    });
  } finally {
    disposeModel(held.model);
  }
}

const shapeOf = (held: HeldOut): PassShape => ({ ...passShape(held), mode: held.model.spec.router.inference_mode });

async function choose(held: HeldOut, options: Options): Promise<Kept> {
  const { model, map } = held;
  const k = model.spec.num_experts_per_tok;
  const least = options.least ?? k;
  if (least < k) throw new UserError(`--least ${least} is below k: every token needs ${k} experts; give ${k} or more.`);
  const documents = sampleByLanguage(documentsOf(held, 'validation'), options.tokens);
  const targets =
    options.targets === undefined ? familiesOf(map.languages) : readTargets(options.targets, map.languages);
  const counted = [...new Set(targets.flatMap(({ languages }) => languages))];
  if (!documents.some(({ language }) => counted.includes(language)))
    throw new UserError(
      `--targets ${options.targets}: none of these languages has validation text to score experts by.`,
    );
  const scores =
    options.by === 'output'
      ? await outputScores(model, documents, map.languages, counted, shapeOf(held))
      : pruneScores(await measureUsage(model, documents, map.languages, shapeOf(held)), options.by, counted);
  return keptExperts(scores, { kind: options.budget, share: options.share, least });
}

function write(held: HeldOut, kept: Kept, { out, by }: Options): Promise<void> {
  const { checkpoint, run, name } = held;
  const folder = readModelFolder(checkpoint);
  const { weights_sha256: _, ...before } = provenanceOf(folder, run);
  const parent = {
    name: run === null ? name : `${name}/${basename(resolve(checkpoint))}`,
    sha256: hashWeights(checkpoint),
  };
  const sets = [...kept].map(([layer, experts]) => `${experts.join(', ')} in layer ${layer}`).join('; ');
  // What was measured of the whole model does not hold of this one.
  const provenance = { ...before, metrics: undefined, parent, upcycling: `Pruned by ${by}: experts ${sets} are left.` };
  return writePruned(folder, kept, out, provenance);
}

interface Compared {
  spec: Model['spec'];
  rows: { code: string; family: string; before: number; after: number; effect: Effect }[];
  all: Effect;
  /** Whether the losses are those of the masked model, to the last bit. */
  identical: boolean;
  documents: number;
}

async function compare(held: HeldOut, kept: Kept, options: Options): Promise<Compared> {
  const { map, model } = held;
  const documents = sampleByLanguage(documentsOf(held, 'test'), options.tokens);
  const shape = shapeOf(held);
  const before = await documentLosses(model, documents, map.languages, shape);
  const masked = await documentLosses(model, documents, map.languages, {
    ...shape,
    intervention: { acts: masks(kept, model) },
  });
  const pruned = openForInference(options.out).model;
  try {
    const after = await documentLosses(pruned, documents, map.languages, shape);
    const identical = after.every(({ nats }, d) => nats === masked[d].nats);
    return { spec: pruned.spec, identical, documents: documents.length, ...effects(held, documents, before, after) };
  } finally {
    disposeModel(pruned);
  }
}

const masks = (kept: Kept, { spec }: Model) =>
  new Map(
    [...kept]
      .map(([layer, stay]) => {
        const experts = Array.from({ length: spec.numExperts }, (_, e) => e).filter(e => !stay.includes(e));
        return [layer, [{ kind: 'mask' as const, experts }]] as const;
      })
      .filter(([, [{ experts }]]) => experts.length > 0),
  );

function effects(
  { map, prepared }: HeldOut,
  documents: TokenDocument[],
  before: DocumentLoss[],
  after: DocumentLoss[],
) {
  const random = seedrandom('prune');
  const paired = documents.map(({ language, item, source, id }, d) => ({
    ...{ language, item, source, before: before[d].nats, after: after[d].nats },
    difference: after[d].nats - before[d].nats,
    bytes: prepared.bytes.get(id) ?? 0,
  }));
  const rows = map.languages.flatMap(({ code, family }, language) => {
    const own = paired.filter(document => document.language === language);
    const sum = (of: (document: (typeof own)[number]) => number): number =>
      own.reduce((total, one) => total + of(one), 0);
    const bits = sum(({ bytes }) => bytes) * Math.LN2;
    if (bits === 0) return [];
    return [
      {
        code,
        family,
        before: sum(one => one.before) / bits,
        after: sum(one => one.after) / bits,
        effect: effectOf(own, random),
      },
    ];
  });
  return { rows, all: effectOf(paired, random) };
}

function describe(
  held: HeldOut,
  kept: Kept,
  { spec, rows, all, identical, documents }: Compared,
  options: Options,
): string[] {
  const [large, small] = [countParameters(held.model.spec), countParameters(spec)];
  const layers = [...kept].map(
    ([layer, experts]) => `  layer ${layer}: ${experts.map(e => `${e} ${held.map.expertNames[e]}`).join(', ')}`,
  );
  const body = rows.map(row => [
    row.code,
    row.family,
    row.before.toFixed(3),
    row.after.toFixed(3),
    interval(row.effect),
  ]);
  const homeless = held.map.languages.filter(
    ({ expert }) => expert >= 0 && [...kept.values()].some(stay => !stay.includes(expert)),
  );
  return [
    'Experts that are left, by the numbers they had:',
    ...layers,
    '',
    table(['code', 'family', 'before', 'after', 'change, 95 %'], body),
    '',
    `Mean over languages: ${interval(all)} bits per byte on ${documents} test documents.`,
    identical
      ? 'The pruned checkpoint, read back, has the losses of the whole model under a mask, to the last bit.'
      : 'Beware: the pruned checkpoint, read back, does not have the losses of the whole model under a mask to the last bit.',
    ...(homeless.length > 0
      ? [`Without their own expert in some layer: ${homeless.map(({ code }) => code).join(' ')}.`]
      : []),
    `${options.out}: ${thousands(small.total)} parameters instead of ${thousands(large.total)}. Look at it with: moe eval ${options.out}`,
  ];
}
