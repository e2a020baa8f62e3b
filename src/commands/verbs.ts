// Every verb of `moe`, in the order of --help: names, arguments, options and defaults. What a verb does stands in the file
// of its name and is imported only when it runs, so that help and wrong options answer at once.
import { Command, Option } from 'commander';
import {
  backendOption,
  decimal,
  familiesOption,
  jsonOption,
  languagesOption,
  layerNumbers,
  longestOption,
  memoryOption,
  memorySize,
  namesOf,
  positiveWhole,
  precisionOption,
  presetOption,
  runArgument,
  setOption,
  signed,
  sizes,
  threadsOption,
  weightsOption,
  wholeNumber,
} from './options.ts';

export const VERBS: (() => Command)[] = [
  train,
  analyzeRouting,
  trace,
  intervene,
  evaluate,
  generate,
  upcycle,
  exportVerb,
  inspect,
  data,
  bench,
  doctor,
];

function train(): Command {
  return new Command('train')
    .summary('train a model with language-family experts')
    .description(
      'Trains a mixture of language-family experts and leaves a run folder: configuration, metrics, checkpoints.',
    )
    .option('--families <file>', 'configuration, or a families file to train with default settings')
    .addOption(presetOption())
    .addOption(setOption())
    .option('--out <dir>', 'run folder to make (default: runs/NAME)')
    .option('--init <checkpoint>', 'start from the weights of a checkpoint, dense or sparse')
    .option('--steps <n>', 'optimizer steps', positiveWhole)
    .option('--seed <n>', 'seed of weights, data order and upcycling', wholeNumber)
    .addOption(backendOption())
    .addOption(threadsOption())
    .option('--resume <dir>', 'go on with this run from its last checkpoint')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  moe train --families configs/50lang.yaml --preset quick\n  moe train --resume runs/50lang-quick',
    )
    .action(async options => (await import('./train.ts')).train(options));
}

function analyzeRouting(): Command {
  return new Command('analyze-routing')
    .summary('show which expert serves which language in which layer')
    .description('Runs plain inference-time routing over held-out text and draws where every language goes.')
    .addArgument(runArgument())
    .option('--out <dir>', 'where to write (default: RUN/routing)')
    .option('--tokens <n>', 'held-out tokens per language', positiveWhole, 2000)
    .addOption(longestOption())
    .option('--routing <mode>', "free, forced or hinted (default: the model's inference mode)")
    .option('--softmax', "record the mean of the router's full softmax too")
    .option('--no-control', 'do not record the same model with an untrained router, to compare with')
    .option('--png', 'draw each picture as PNG too')
    .option('--trace <dir>', 'analyse a trace folder that exists already instead of running a model')
    .option('--compare <dir>', 'an earlier trace of the same documents: how much of the routing had settled')
    .option('--paired', 'with --compare: another run, whose experts are first paired with these')
    .option('--pivot <code>', 'language that the others are compared with (default: en)')
    .addOption(languagesOption())
    .addOption(memoryOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  moe analyze-routing runs/50lang-quick --out /tmp/routing')
    .action(async (run, options) => (await import('./analyze-routing.ts')).analyzeRouting(run, options));
}

function trace(): Command {
  return new Command('trace')
    .summary('write down where every token of a text goes')
    .description("Writes a trace folder: every token's experts in a model, or what another program recorded of them.")
    .argument('[path]', 'run or checkpoint; with --import, the file or folder to read')
    .requiredOption('--out <dir>', 'folder to make')
    .option('--model <dir>', 'run or checkpoint; with --import, the model that ran')
    .option('--text <what>', 'builtin, or JSONL or Parquet (default: its held-out text)')
    .option('--tokens <n>', 'tokens per language', positiveWhole, 2000)
    .addOption(longestOption())
    .option('--routing <mode>', "free, forced or hinted (default: the model's)")
    .option('--softmax', "record the mean of the router's full softmax too")
    .option('--untrained-router <seed>', 'draw every router anew, N(0, 0.02), as a control', wholeNumber)
    .addOption(new Option('--import <format>', 'read files of').choices(['megatron', 'vllm', 'sglang', 'olmoe']))
    .option('--documents <file>', 'with --import: JSONL with the language of each text')
    .option('--experts <n>', 'with --import: experts of a layer', positiveWhole)
    .option('--choices <k>', 'with --import: experts of a token', positiveWhole)
    .option('--layers <numbers>', 'with --import: the layers with experts, 1-47', layerNumbers)
    .addOption(languagesOption())
    .addOption(memoryOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  moe trace runs/50lang-quick --out traced --softmax\n  moe trace --model DIR --text texts.jsonl --families configs/50lang.yaml --out traced\n  moe trace --import vllm out.jsonl --documents texts.jsonl --experts 64 --out traced',
    )
    .action(async (path, options) => (await import('./trace.ts')).trace(path, options));
}

function intervene(): Command {
  const onGrid = (verb: 'steer' | 'ablate', summary: string, hows: [string, string], example: string): Command =>
    new Command(verb)
      .description(summary)
      .addArgument(runArgument())
      .option('--targets <which>', 'families, languages, or names with commas between them', 'families')
      .option('--experts <which>', 'difference, exclusive, own, 0,2 or 4:0,2;5:1', 'difference')
      .option('--count <n>', 'experts of each layer, chosen by difference', positiveWhole, 1)
      .option('--layers <which>', 'all, early, middle, late, or numbers: 4,6-8', 'all')
      .option('--on <which>', 'act at the tokens of these languages alone')
      .option('--how <act>', hows[0], hows[1])
      .option('--strength <b>', 'of soft (default: 0.5) and share (0.03)', signed)
      .option('--keep <n>', 'experts of a language, for exclusive (15) and share (20)', positiveWhole)
      .option('--threshold <s>', 'share, for exclusive (0.4) and share (0.7)', decimal)
      .option('--draws <n>', 'random controls of each target', positiveWhole, 20)
      .option('--seed <n>', 'seed of controls and intervals', wholeNumber, 0)
      .option('--tokens <n>', 'held-out tokens per language', positiveWhole, 1000)
      .option('--routing <mode>', "free, forced or hinted (default: the model's)")
      .option('--out <dir>', 'write intervention.csv and intervention.json here')
      .addOption(languagesOption())
      .addOption(memoryOption())
      .addOption(backendOption())
      .addOption(threadsOption())
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  moe intervene ${verb} ${example}`)
      .action(async (run, options) => (await import('./intervene.ts')).interveneOnGrid(verb, run, options));
  const verbs = [
    onGrid(
      'steer',
      'Pulls tokens towards the experts of a target, by their router logits, and measures every language.',
      ['soft, hard, off or share', 'soft'],
      'runs/50lang-quick --targets en --on sw,ha --how soft --strength 0.5',
    ),
    onGrid(
      'ablate',
      'Takes the experts of a target away and measures every language: do they serve it, and it alone?',
      ['mask: others serve; zero: chosen, adds nothing', 'mask'],
      'runs/50lang-quick --targets families --out /tmp/ablation',
    ),
    new Command('prune')
      .description('Drops the experts that matter least and writes a smaller checkpoint.')
      .addArgument(runArgument())
      .requiredOption('--out <dir>', 'checkpoint folder to make')
      .option('--share <s>', 'share of the experts to drop', decimal, 0.5)
      .addOption(
        new Option('--by <score>', 'what makes an expert matter')
          .choices(['importance', 'top1', 'balanced', 'vanilla', 'output'])
          .default('importance'),
      )
      .addOption(
        new Option('--budget <kind>', 'layer: as many of each; global: one threshold for all layers')
          .choices(['layer', 'global'])
          .default('layer'),
      )
      .option('--least <n>', 'experts that a layer keeps (default: k)', positiveWhole)
      .option('--targets <which>', 'score by these languages alone (default: all)')
      .option('--tokens <n>', 'held-out tokens per language', positiveWhole, 1000)
      .addOption(languagesOption())
      .addOption(backendOption())
      .addOption(threadsOption())
      .addOption(jsonOption())
      .addHelpText('after', '\nExample:\n  moe intervene prune runs/50lang-quick --share 0.4 --out pruned')
      .action(async (run, options) => (await import('./intervene-prune.ts')).prune(run, options)),
    new Command('regroup')
      .description('Groups languages by where they route, and writes a families file to train with.')
      .argument('<trace>', 'folder of a routing trace, such as runs/NAME/routing')
      .requiredOption('--out <file>', 'families file to write')
      .addOption(
        new Option('--how <method>', 'average: linkage; balanced: groups of equal size')
          .choices(['average', 'balanced'])
          .default('average'),
      )
      .option('--groups <n>', 'number of families (default: by silhouette)', positiveWhole)
      .option('--layers <which>', 'all, early, middle, late, or numbers: 4,6-8', 'all')
      .option('--draws <n>', 'permutations, and bootstrap draws up to 200', positiveWhole, 1000)
      .option('--seed <n>', 'seed of both', wholeNumber, 0)
      .option('--expand <n>', 'also deal n experts out to layers, by likeness (needs --model)', positiveWhole)
      .option('--model <dir>', 'run or checkpoint, dense or sparse, to measure likeness in')
      .option('--tokens <n>', 'tokens per language for that', positiveWhole, 1000)
      .addOption(languagesOption())
      .addOption(backendOption())
      .addOption(threadsOption())
      .addOption(jsonOption())
      .addHelpText('after', '\nExample:\n  moe intervene regroup runs/50lang-quick/routing --out learned.yaml')
      .action(async (trace, options) => (await import('./intervene-regroup.ts')).regroup(trace, options)),
  ];
  const intervene = new Command('intervene')
    .summary('steer, ablate or prune experts, or group languages anew')
    .description('Changes what routers do, and measures what that does to every language, beside random controls.')
    .addHelpText('after', '\nExample:\n  moe intervene ablate runs/50lang-quick');
  for (const verb of verbs) intervene.addCommand(verb);
  return intervene;
}

function evaluate(): Command {
  return new Command('eval')
    .summary('held-out loss per language, with and without language ids')
    .description('Held-out loss of a checkpoint per language and family: plain inference, and with language ids given.')
    .addArgument(runArgument())
    .option('--split <name>', 'validation or test', 'test')
    .option('--tokens <n>', 'tokens per language', positiveWhole, 2000)
    .addOption(languagesOption())
    .addOption(memoryOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  moe eval runs/50lang-quick --split test')
    .action(async (run, options) => (await import('./eval.ts')).evaluate(run, options));
}

function generate(): Command {
  return new Command('generate')
    .summary('continue a prompt in a chosen language')
    .description(
      'Continues a prompt with a trained model. With --language and --routing forced, its family expert always serves.',
    )
    .addArgument(runArgument())
    .option('--prompt <text>', 'text to continue')
    .addOption(
      new Option('--chat <text>', "question, put to the model by its tokenizer's chat template").conflicts('prompt'),
    )
    .option('--system <text>', 'with --chat: what the model is told before the question')
    .option('--language <code>', 'language of the text, used by forced and hinted routing')
    .option('--routing <mode>', "free, forced or hinted (default: the model's inference mode)")
    .option('--tokens <n>', 'tokens to make at most', positiveWhole, 60)
    .addOption(
      new Option('--beams <n>', 'beam search with so many beams instead of sampling')
        .argParser(positiveWhole)
        .conflicts(['temperature', 'topP', 'seed']),
    )
    .option('--temperature <t>', '0 is greedy', decimal, 0.8)
    .option('--top-p <p>', 'sample among the fewest tokens with this much probability', decimal, 0.95)
    .option('--seed <n>', 'seed of the sampling', wholeNumber, 0)
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  moe generate runs/50lang-quick --prompt "Jeder Mensch hat" --language de --routing forced\n  moe generate DIR --chat "What is a fever?" --beams 4',
    )
    .action(async (run, options) => (await import('./generate.ts')).continuePrompt(run, options));
}

function upcycle(): Command {
  return new Command('upcycle')
    .summary('copy a dense checkpoint into language-family experts')
    .description(
      'Copies the FFN of chosen layers of a dense checkpoint into one expert per family, and checks step 0 against it.',
    )
    .requiredOption('--from <dir>', 'dense run or checkpoint')
    .requiredOption('--families <file>', 'families file or configuration: who gets an expert')
    .requiredOption('--out <dir>', 'checkpoint folder to make')
    .option('--layers <which>', 'last:N, all, or layer numbers such as 2,3', 'last:2')
    .option('--noise <std>', 'Gaussian noise on the copies, relative to each tensor', decimal, 0)
    .option('--router-init <how>', 'normal, orthogonal, zero, hidden-mean', 'normal')
    .option('--init-std <std>', 'scale of the router start', decimal, 0.02)
    .option('--raw', 'raw top-k probabilities as in the paper, instead of renormalised ones')
    .option('--seed <n>', 'seed of router and noise', wholeNumber, 0)
    .addOption(backendOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  moe upcycle --from runs/dense --families configs/families/apollo.yaml --layers last:2 --out runs/upcycled',
    )
    .action(async options => (await import('./upcycle.ts')).upcycle(options));
}

function exportVerb(): Command {
  return new Command('export')
    .summary('write a checkpoint as a folder that other programs load')
    .description(
      'Writes a checkpoint, ours or a foreign one, as safetensors that stock transformers loads, with a model card.',
    )
    .argument('<checkpoint>', 'run folder, checkpoint, or folder of a Hugging Face model')
    .addOption(
      new Option('--to <layout>', 'qwen2-moe: for stock transformers; apollo: as published; safetensors: our own')
        .choices(['qwen2-moe', 'apollo', 'safetensors'])
        .makeOptionMandatory(),
    )
    .requiredOption('--out <dir>', 'folder to make')
    .addOption(
      new Option('--dtype <type>', 'of the weights (default: as they are stored)').choices(['f32', 'bf16', 'f16']),
    )
    .addOption(
      new Option('--max-shard-size <size>', 'of one file of weights').argParser(memorySize).default(5e9, '5GB'),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  moe export runs/50lang-quick --to qwen2-moe --dtype bf16 --out exported\n  moe export runs/upcycled --to apollo --out apollo',
    )
    .action(async (checkpoint, options) => (await import('./export.ts')).exportCheckpoint(checkpoint, options));
}

function inspect(): Command {
  return new Command('inspect')
    .summary('languages, experts, layers and parameter counts of a configuration or checkpoint')
    .description(
      'Prints what a configuration, run or checkpoint is: languages, experts, layers, parameters. Allocates no weights.',
    )
    .argument('<path>', 'configuration file, run folder or checkpoint')
    .addOption(presetOption())
    .addOption(setOption())
    .option('--settings', 'print every setting as well')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  moe inspect configs/models/qwen2-7b.yaml')
    .action(async (path, options) => (await import('./inspect.ts')).inspect(path, options));
}

function data(): Command {
  const verb = (name: 'stats' | 'check', description: string): Command =>
    new Command(name)
      .description(description)
      .addOption(familiesOption())
      .addOption(presetOption())
      .addOption(setOption())
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  moe data ${name} --families configs/50lang.yaml`)
      .action(async options => (await import('./data.ts'))[name](options));
  return new Command('data')
    .summary('show and check the text of a configuration')
    .description('The text that a configuration trains on: its size per language, and whether it is what it says.')
    .addCommand(verb('stats', 'bytes, tokens, documents, share medical and fertility per language'))
    .addCommand(verb('check', 'scripts, language identity, leftovers of English, texts of another language'))
    .addHelpText('after', '\nExample:\n  moe data stats --families configs/50lang.yaml');
}

function bench(): Command {
  const work = (name: string, description: string): Command => new Command(name).description(description);
  const common = (verb: Command, example: string): Command =>
    verb
      .option('--warmup <n>', 'runs before those that count', wholeNumber, 3)
      .option('--seed <n>', 'seed of weights and tokens', wholeNumber, 0)
      .addOption(backendOption())
      .addOption(threadsOption())
      .addOption(precisionOption())
      .addOption(jsonOption())
      .addHelpText('after', `\nExample:\n  moe bench ${verb.name()}${example}`);
  const repeats = (verb: Command, times: number): Command =>
    verb.option('--repeats <n>', 'runs that count', positiveWhole, times);
  const save = (verb: Command): Command =>
    verb.option('--save <file>', 'write weights and inputs as safetensors, for the same run elsewhere');
  const verbs = [
    common(
      save(
        work('train', 'Time of one training step: forward, backward, clipping and AdamW on random tokens.')
          .option('--model <name>', 'dense, post-moe (7 experts), post-moe-64 or tiny', 'dense')
          .option('--steps <n>', 'steps that count', positiveWhole, 10),
      ),
      ' --model post-moe --backend native --threads 2',
    ).action(async options => (await import('./bench.ts')).benchTrain(options)),
    common(
      save(
        repeats(work('moe', 'Time of one MoE layer of 8 experts, top-2, 256/1024, forward and backward.'), 10),
      ).option('--tokens <n>', 'tokens that pass it', positiveWhole, 4096),
      ' --threads 2',
    ).action(async options => (await import('./bench.ts')).benchMoe(options)),
    common(
      save(repeats(work('infer', 'Time of one forward pass of a Qwen2-0.5B-shaped model; takes 2 GiB.'), 5))
        .option('--model <name>', 'qwen2-0.5b or tiny', 'qwen2-0.5b')
        .option('--layers <n>', "layers, instead of the model's own", positiveWhole)
        .option('--tokens <n>', 'length of the sequence', positiveWhole, 128)
        .addOption(weightsOption()),
      ' --layers 4 --tokens 64',
    ).action(async options => (await import('./bench.ts')).benchInfer(options)),
    common(
      repeats(work('gemm', 'Time of square fp32 matrix products, in all transposes.'), 10).option(
        '--sizes <list>',
        'sizes',
        sizes,
        [512, 1024, 2048],
      ),
      ' --sizes 512,1024',
    ).action(async options => (await import('./bench.ts')).benchGemm(options)),
    common(
      repeats(work('dispatch', 'Time of moving tokens to their experts and back, piece by piece, beside a copy.'), 10)
        .option('--tokens <list>', 'tokens (default: 1024,4096)', sizes)
        .option('--experts <list>', 'experts (default: 8)', sizes)
        .option('--choices <list>', 'experts per token (default: 2)', sizes)
        .option('--width <list>', 'width of a token (default: 896)', sizes)
        .option(
          '--load <list>',
          'balanced, zipf, one-hot, empty, burst (default: balanced,zipf)',
          namesOf(['balanced', 'zipf', 'one-hot', 'empty', 'burst']),
        )
        .option('--full', 'the sweep for a GPU where no list is given: up to 65536 tokens, 128 experts, width 4096')
        .option('--memory <gib>', "GiB that tensors may take (default: half of this machine's)", decimal),
      ' --tokens 8192 --backend native',
    ).action(async options => (await import('./bench-dispatch.ts')).benchDispatch(options)),
  ];
  const bench = new Command('bench')
    .summary('time fixed pieces of work on this machine')
    .description('Times fixed pieces of work, the same as bench/torch_baseline.py does with PyTorch.')
    .addHelpText('after', '\nExample:\n  moe bench train --model dense --backend native --threads 2');
  for (const verb of verbs) bench.addCommand(verb);
  return bench;
}

function doctor(): Command {
  return new Command('doctor')
    .summary('explain which backend runs on this machine, and why')
    .description('Says which backend runs on this machine, why the others do not, and which text is installed.')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  moe doctor')
    .action(async options => (await import('./doctor.ts')).doctor(options));
}
