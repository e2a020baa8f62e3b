// `moe upcycle`: a dense checkpoint becomes a mixture of language-family experts, checked on held-out text.
import { existsSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { checkConfig } from '../config/check.ts';
import type { MoeLayers } from '../config/layer-plan.ts';
import { type Loaded, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { BackendName } from '../engine/backend.ts';
import { UserError } from '../errors.ts';
import { sampleByLanguage } from '../eval/evaluate.ts';
import { writeFolderAtomically } from '../hub/atomic.ts';
import { modelCard } from '../hub/export/card.ts';
import { specialTokensOf, writeCompanions } from '../hub/export/companions.ts';
import { ownLayout } from '../hub/export/own.ts';
import { familiesOf, PROVENANCE_FILE, type Provenance } from '../hub/export/provenance.ts';
import { hashWeights } from '../hub/hash-weights.ts';
import { readModelFolder } from '../hub/model-folder.ts';
import { writeSafetensors } from '../hub/write-safetensors.ts';
import { MODEL_TYPE } from '../model/config-json.ts';
import { countParameters } from '../model/count.ts';
import { disposeModel, hostTensors, type Model } from '../model/weights.ts';
import { growExperts } from '../train/grow.ts';
import { openModel } from '../train/open.ts';
import { prepare } from '../train/prepare.ts';
import { createRng } from '../train/rng.ts';
import { useBackend } from './backend.ts';
import { type HeldOut, openHeldOut } from './held-out.ts';
import { createOutput, thousands } from './output.ts';
import { findCheckpoint } from './runs.ts';

interface Options {
  from: string;
  families: string;
  layers: string;
  out: string;
  noise: number;
  routerInit: string;
  initStd: number;
  seed: number;
  raw?: boolean;
  backend: BackendName;
  threads?: number;
  json?: boolean;
}

const INITS = ['normal', 'orthogonal', 'zero', 'hidden-mean'];

export async function upcycle(options: Options): Promise<void> {
  const out = createOutput(options.json ?? false);
  if (existsSync(options.out)) throw new UserError(`--out ${options.out} exists already; choose another folder.`);
  if (!INITS.includes(options.routerInit))
    throw new UserError(`--router-init ${options.routerInit} is not known; use ${INITS.join(', ')}.`);
  await useBackend(options.backend, options);
  const named = readModelFolder(findCheckpoint(options.from).checkpoint).map.languages.length > 0;
  const held = await openHeldOut(options.from, openModel, named ? undefined : options.families);
  if (held.model.spec.layers.includes('moe'))
    throw new UserError(`${held.checkpoint} has experts already; --from takes a dense checkpoint.`);
  const { config, map } = plan(held, options);
  const prepared = await prepare(config, map, held.tokenizer);
  const sample = sampleByLanguage(prepared.documents.validation, 100);
  const growth = await growExperts(held.model, config, map, sample, createRng(`${options.seed}/upcycle`));
  await write(options, held, growth.model, { config, map }, growth.sentence);
  const count = countParameters(growth.model.spec);
  disposeModel(held.model);
  disposeModel(growth.model);
  out.say(growth.sentence);
  out.say(
    `${options.out}: ${thousands(count.total)} parameters, ${thousands(count.active)} active. Train it with: moe train --families ${options.families} --init ${options.out}`,
  );
  out.result({ out: options.out, error: growth.error, meanScale: growth.meanScale, parameters: count });
}

/** The checkpoint's own model with the wanted families and layers. */
function plan(held: HeldOut, options: Options): Loaded {
  const { config: wanted, map } = loadConfig(options.families);
  const { layers: _, numExperts: __, router, ...shape } = held.model.spec;
  const config: Config = {
    ...held.config,
    families: wanted.families,
    languages: wanted.languages,
    model: { ...shape, embedding_offset: 0, moe_layers: readLayers(options.layers), norm_topk_prob: !options.raw },
    router: { ...router, init: options.routerInit as Config['router']['init'], init_std: options.initStd },
    upcycle: { at: 0, noise: options.noise },
  };
  checkConfig(config, map, path => `--${path.includes('moe_layers') ? 'layers' : 'families'}`);
  return { config, map };
}

function readLayers(text: string): MoeLayers {
  if (text === 'all') return text;
  const last = /^last[: ](\d+)$/.exec(text);
  if (last) return `last ${Number(last[1])}`;
  if (/^\d+(,\d+)*$/.test(text)) return text.split(',').map(Number);
  throw new UserError(`--layers ${text} is not understood; write last:2, all, or layer numbers such as 2,3.`);
}

/** Of a folder alone its own name, of a run's checkpoint both. */
const nameOf = ({ run, name, checkpoint }: HeldOut): string =>
  run === null ? name : `${name}/${basename(resolve(checkpoint))}`;

/** Besides the weights, what the parent has for its text: tokenizer and chat template stay byte for byte. */
async function write({ out }: Options, held: HeldOut, model: Model, { map }: Loaded, sentence: string): Promise<void> {
  const parent = readModelFolder(held.checkpoint);
  const tokens = specialTokensOf(parent);
  const facts = { dtype: 'float32' as const, tokens };
  const weights = await hostTensors(model);
  const biases = [...weights.keys()].filter(name => name.endsWith('.e_score_correction_bias'));
  const provenance: Provenance = {
    families: familiesOf(map),
    parent: { name: nameOf(held), sha256: hashWeights(held.checkpoint) },
    upcycling: sentence,
  };
  await writeFolderAtomically(out, async folder => {
    writeFileSync(join(folder, 'config.json'), ownLayout(model.spec, map, facts, biases).configJson);
    writeCompanions(held.checkpoint, folder, tokens, model.spec.max_position_embeddings);
    const tensors = Array.from(weights, ([name, { shape, values }]) => ({
      name,
      dtype: 'F32' as const,
      shape,
      values: () => values,
    }));
    await writeSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' });
    writeFileSync(join(folder, PROVENANCE_FILE), `${JSON.stringify(provenance, null, 2)}\n`);
    writeFileSync(join(folder, 'README.md'), modelCard(model.spec, 'safetensors', MODEL_TYPE, provenance));
  });
}
