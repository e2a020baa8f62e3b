// What a person can type: the whole surface is frozen here. A change of a verb, an argument, an option or a default must
// change this text, and then the README. No verb may load the engine for it.
import { execFileSync } from 'node:child_process';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { VERBS } from '../../src/commands/verbs.ts';
import { BACKEND_NAMES } from '../../src/engine/backend.ts';
import { moe, refusal } from './world.ts';

const verbs = VERBS.map(verb => verb());

/** One line per verb, argument and option: `--steps <n> = default (choices)`. */
function surface(verb: Command, path = ''): string[] {
  const name = `${path}${verb.name()}`;
  const words = verb.registeredArguments.map(argument =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  const options = verb.options.map(({ flags, defaultValue, mandatory, argChoices }) => {
    const value = defaultValue === undefined ? '' : ` = ${JSON.stringify(defaultValue)}`;
    return `  ${flags}${value}${argChoices ? ` (${argChoices.join(' ')})` : ''}${mandatory ? ' required' : ''}`;
  });
  return [[name, ...words].join(' '), ...options, ...verb.commands.flatMap(below => surface(below, `${name} `))];
}

test('verbs, arguments, options and defaults', () => {
  expect(verbs.flatMap(verb => surface(verb)).join('\n')).toMatchInlineSnapshot(`
    "train
      --families <file>
      --preset <name> = []
      --set <key=value> = []
      --out <dir>
      --init <checkpoint>
      --steps <n>
      --seed <n>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --resume <dir>
      --json
    analyze-routing [run]
      --out <dir>
      --tokens <n> = 2000
      --longest <n>
      --routing <mode>
      --softmax
      --no-control
      --png
      --trace <dir>
      --compare <dir>
      --paired
      --pivot <code>
      --families <file>
      --memory <size>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    trace [path]
      --out <dir> required
      --model <dir>
      --text <what>
      --tokens <n> = 2000
      --longest <n>
      --routing <mode>
      --softmax
      --untrained-router <seed>
      --import <format> (megatron vllm sglang olmoe)
      --documents <file>
      --experts <n>
      --choices <k>
      --layers <numbers>
      --families <file>
      --memory <size>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    intervene
    intervene steer [run]
      --targets <which> = "families"
      --experts <which> = "difference"
      --count <n> = 1
      --layers <which> = "all"
      --on <which>
      --how <act> = "soft"
      --strength <b>
      --keep <n>
      --threshold <s>
      --draws <n> = 20
      --seed <n> = 0
      --tokens <n> = 1000
      --routing <mode>
      --out <dir>
      --families <file>
      --memory <size>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    intervene ablate [run]
      --targets <which> = "families"
      --experts <which> = "difference"
      --count <n> = 1
      --layers <which> = "all"
      --on <which>
      --how <act> = "mask"
      --strength <b>
      --keep <n>
      --threshold <s>
      --draws <n> = 20
      --seed <n> = 0
      --tokens <n> = 1000
      --routing <mode>
      --out <dir>
      --families <file>
      --memory <size>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    intervene prune [run]
      --out <dir> required
      --share <s> = 0.5
      --by <score> = "importance" (importance top1 balanced vanilla output)
      --budget <kind> = "layer" (layer global)
      --least <n>
      --targets <which>
      --tokens <n> = 1000
      --families <file>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    intervene regroup <trace>
      --out <file> required
      --how <method> = "average" (average balanced)
      --groups <n>
      --layers <which> = "all"
      --draws <n> = 1000
      --seed <n> = 0
      --expand <n>
      --model <dir>
      --tokens <n> = 1000
      --families <file>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    eval [run]
      --split <name> = "test"
      --tokens <n> = 2000
      --families <file>
      --memory <size>
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    generate [run]
      --prompt <text>
      --chat <text>
      --system <text>
      --language <code>
      --routing <mode>
      --tokens <n> = 60
      --beams <n>
      --temperature <t> = 0.8
      --top-p <p> = 0.95
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    upcycle
      --from <dir> required
      --families <file> required
      --out <dir> required
      --layers <which> = "last:2"
      --noise <std> = 0
      --router-init <how> = "normal"
      --init-std <std> = 0.02
      --raw
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --json
    export <checkpoint>
      --to <layout> (qwen2-moe apollo safetensors) required
      --out <dir> required
      --dtype <type> (f32 bf16 f16)
      --max-shard-size <size> = 5000000000
      --json
    inspect <path>
      --preset <name> = []
      --set <key=value> = []
      --settings
      --json
    data
    data stats
      --families <file> = "configs/50lang.yaml"
      --preset <name> = []
      --set <key=value> = []
      --json
    data check
      --families <file> = "configs/50lang.yaml"
      --preset <name> = []
      --set <key=value> = []
      --json
    bench
    bench train
      --model <name> = "dense"
      --steps <n> = 10
      --save <file>
      --warmup <n> = 3
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --precision <type> = "f32" (f32 f16)
      --json
    bench moe
      --repeats <n> = 10
      --save <file>
      --tokens <n> = 4096
      --warmup <n> = 3
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --precision <type> = "f32" (f32 f16)
      --json
    bench infer
      --repeats <n> = 5
      --save <file>
      --model <name> = "qwen2-0.5b"
      --layers <n>
      --tokens <n> = 128
      --weights <type> = "fp32" (fp32 bf16)
      --warmup <n> = 3
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --precision <type> = "f32" (f32 f16)
      --json
    bench gemm
      --repeats <n> = 10
      --sizes <list> = [512,1024,2048]
      --warmup <n> = 3
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --precision <type> = "f32" (f32 f16)
      --json
    bench dispatch
      --repeats <n> = 10
      --tokens <list>
      --experts <list>
      --choices <list>
      --width <list>
      --load <list>
      --full
      --memory <gib>
      --warmup <n> = 3
      --seed <n> = 0
      --backend <name> = "auto" (auto native wasm cpu webgpu tensorflow)
      --threads <n>
      --precision <type> = "f32" (f32 f16)
      --json
    doctor
      --json"
  `);
});

test('every verb says what it does in 80 columns and ends in examples of itself', () => {
  for (const verb of verbs.flatMap(verb => [verb, ...verb.commands])) {
    let help = '';
    const writeOut = (text: string): void => {
      help += text;
    };
    verb.configureOutput({ writeOut }).outputHelp();
    const path = verb.parent ? `${verb.parent.name()} ${verb.name()}` : verb.name();
    const [words, examples] = help.split('\nExample:\n');
    expect(verb.description().length, path).toBeGreaterThan(20);
    expect(Math.max(...words.split('\n').map(line => line.length)), path).toBeLessThanOrEqual(80);
    for (const example of examples.trimEnd().split('\n')) expect(example, path).toMatch(/^ {2}moe /);
    expect(examples, path).toContain(`  moe ${path}`);
  }
});

test('--backend offers what the engine has', () => {
  const backends = verbs.flatMap(verb => verb.options).filter(option => option.long === '--backend');
  const choices = backends.flatMap(option => option.argChoices ?? []);
  expect([...new Set(choices)]).toEqual([...BACKEND_NAMES]);
});

test('help and the version come on stdout with exit 0, wrong words in one sentence on stderr with exit 2', async () => {
  const [help, version, below, ...wrong] = await Promise.all(
    [
      ['--help'],
      ['--version'],
      ['data', 'stats', '--help'],
      ['trian'],
      ['train', '--stpes', '5'],
      ['data', 'stat'],
      ['train', '--steps', 'ten'],
      ['eval', '--backend', 'gpu'],
      ['train', '--threads', '0'],
      ['bench', 'gemm', '--sizes', '512,big'],
      ['generate'],
      ['train', '--set', 'steps'],
    ].map(args => moe('.', ...args)),
  );
  expect([help, version, below].map(({ code, err }) => [code, err])).toEqual(Array(3).fill([0, '']));
  expect(help.out).toContain('analyze-routing');
  expect(version.out).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(wrong.map(refusal)).toEqual([
    "moe: unknown command 'trian'; did you mean train?",
    "moe: unknown option '--stpes'; did you mean --steps?",
    "moe: unknown command 'stat'; did you mean stats?",
    "moe: option '--steps <n>' argument 'ten' is invalid: give a whole number of 1 or more; see moe --help.",
    "moe: option '--backend <name>' argument 'gpu' is invalid: allowed choices are auto, native, wasm, cpu, webgpu, tensorflow; see moe --help.",
    "moe: option '--threads <n>' argument '0' is invalid: give a whole number of 1 or more; see moe --help.",
    "moe: option '--sizes <list>' argument '512,big' is invalid: give whole numbers with commas between them, for example 512,1024; see moe --help.",
    'moe: there is nothing to continue; give --prompt TEXT, or --chat TEXT for a question to a chat model.',
    "moe: option '--set <key=value>' argument 'steps' is invalid: write it as key=value, for example train.steps=500; see moe --help.",
  ]);
});

test('help does not load the engine', () => {
  const script = `
    const { VERBS } = await import(${JSON.stringify(new URL('../../src/commands/verbs.ts', import.meta.url).href)});
    for (const verb of VERBS) verb().helpInformation();
    process.stdout.write(String('_tfengine' in globalThis));`;
  const out = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect(out).toBe('false');
});
