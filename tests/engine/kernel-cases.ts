// Random calls of every C kernel, as the comment above each kernel gives its arguments: sizes 0, 1, odd ones, those of
// vectors and tiles ± 1, and now and then one that is cut into several tasks. safety.test.ts runs them.

/** An array of a call: read, written whole, or read and changed in place. */
export interface ArraySlot {
  role: 'input' | 'output' | 'both';
  values: Float32Array | Int32Array | Uint16Array;
}
export type Slot = number | ArraySlot | ArraySlot[];

export interface KernelCase {
  kernel: string;
  /** For people: the sizes. */
  shape: string;
  slots: Slot[];
}

/** Numbers in 0 … 1, the same for the same seed. */
export type Random = () => number;
type Call = { shape: object; slots: Slot[] };

const EDGES = [
  0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 129,
];

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)];
const below = (random: Random, n: number): number => Math.floor(random() * n);
/** A size of the edges up to `most`. */
const edge = (random: Random, most = 129): number =>
  pick(
    random,
    EDGES.filter(size => size <= most),
  );
/** Rarely the first, mostly the second. */
const rarely = <T>(random: Random, unusual: () => T, usual: () => T): T => (random() < 0.1 ? unusual() : usual());
/** How many numbers an elementwise kernel gets: 16384 make up one task. */
const length = (random: Random): number =>
  rarely(
    random,
    () => pick(random, [16383, 16384, 16385, 40001]),
    () => edge(random),
  );
/** Rows and their width, together cut into tasks now and then. */
const rows = (random: Random, most = 33): [number, number] =>
  rarely(
    random,
    () => [pick(random, [97, 300]), pick(random, [129, 260])],
    () => [edge(random, most), edge(random)],
  );

const input = (random: Random, n: number, size = 1): ArraySlot => ({
  role: 'input',
  values: Float32Array.from({ length: n }, () => (random() * 2 - 1) * size),
});
const positive = (random: Random, n: number): ArraySlot => ({
  role: 'input',
  values: Float32Array.from({ length: n }, () => 0.5 + random()),
});
/** In bf16: the upper halves of fp32 numbers. */
const halves = (random: Random, n: number): ArraySlot => {
  const words = new Uint32Array(input(random, n).values.buffer);
  return { role: 'input', values: Uint16Array.from(words, word => word >>> 16) };
};
const output = (n: number): ArraySlot => ({ role: 'output', values: new Float32Array(n) });
const changed = (random: Random, n: number, lowest = -1): ArraySlot => ({
  role: 'both',
  values: Float32Array.from({ length: n }, () => lowest + random() * (1 - lowest)),
});
/** For each row its largest score, `largest` at least, and a share below 1, as attention and cross-entropy keep them. */
const statistics = (random: Random, rows: number, largest: number): ArraySlot => ({
  role: 'input',
  values: Float32Array.from({ length: 2 * rows }, (_, i) => random() + (i % 2 === 0 ? largest : 0)),
});
const ints = (values: ArrayLike<number>): ArraySlot => ({ role: 'input', values: Int32Array.from(values) });
const flag = (random: Random): number => below(random, 2);

/** Indices below `end`, and −1 for some; all −1 where there is none. */
const indices = (random: Random, n: number, end: number): ArraySlot =>
  ints(Array.from({ length: n }, () => (end === 0 || random() < 0.2 ? -1 : below(random, end))));
/** Ids that all name a row. */
const ids = (random: Random, n: number, end: number): ArraySlot =>
  ints(Array.from({ length: n }, () => below(random, end)));

function gemm(random: Random): Call {
  const [m, n, k] = rarely(
    random,
    () =>
      pick(random, [
        [3, 20, 2300],
        [200, 9, 260],
        [5, 2100, 33],
        [97, 130, 257],
        [1, 65, 4100],
        [193, 65, 300], // more rows than are packed at once
        [66, 40, 512], // columns whose places in the cache coincide
        [2, 512, 600],
        [12, 520, 257],
      ]),
    () => [edge(random), edge(random), edge(random)],
  );
  const batch = pick(random, [0, 1, 1, 1, 2, 3]);
  const [turnA, turnB, accumulate, bias] = [flag(random), flag(random), flag(random), flag(random)];
  const c = accumulate ? changed(random, batch * m * n) : output(batch * m * n);
  const [a, b] = [input(random, batch * m * k), input(random, batch * k * n)];
  return {
    shape: { batch, m, n, k, turnA, turnB, accumulate, bias },
    slots: [a, b, c, bias ? input(random, n) : 0, batch, m, n, k, turnA, turnB, accumulate],
  };
}

/** Rows of each expert, none for some, and the sizes of their matrices. */
function groups(random: Random) {
  const experts = pick(random, [0, 1, 2, 3, 7, 40]);
  const counts = Array.from({ length: experts }, () => (random() < 0.3 ? 0 : edge(random, 33)));
  if (experts > 0 && random() < 0.1) counts[experts - 1] = 200;
  const offsets = [0];
  for (const count of counts) offsets.push(offsets[offsets.length - 1] + count);
  const [d, f] = [edge(random, 65), edge(random, 65)];
  const matrices = (make: () => ArraySlot) => counts.map(make);
  return { shape: { counts: counts.join(' '), d, f }, offsets, total: offsets[experts], d, f, experts, matrices };
}

function gemmHalf(random: Random): Call {
  const [m, n, k] = rarely(
    random,
    () =>
      pick(random, [
        [3, 20, 2300],
        [97, 130, 257],
        [1, 2100, 512],
        [8, 97, 1300],
        [66, 40, 300],
      ]),
    () => [edge(random), edge(random), edge(random)],
  );
  const bias = flag(random);
  const [x, w] = [input(random, m * k), halves(random, n * k)];
  return {
    shape: { m, n, k, bias },
    slots: [x, w, output(m * n), bias ? input(random, n) : 0, m, n, k],
  };
}

function groupedGemmHalf(random: Random): Call {
  const { shape, offsets, total, d, f, experts, matrices } = groups(random);
  const weights = matrices(() => halves(random, d * f));
  return { shape, slots: [input(random, total * d), weights, ints(offsets), output(total * f), experts, d, f] };
}

function groupedGemm(random: Random, way: 'forward' | 'input'): Call {
  const { shape, offsets, total, d, f, experts, matrices } = groups(random);
  const [from, to] = way === 'forward' ? [d, f] : [f, d];
  const weights = matrices(() => input(random, d * f));
  const accumulate = way === 'input' ? flag(random) : 0;
  const to_N = accumulate ? changed(random, total * to) : output(total * to);
  const slots = [input(random, total * from), weights, ints(offsets), to_N, experts, d, f];
  return way === 'forward' ? { shape, slots } : { shape: { ...shape, accumulate }, slots: [...slots, accumulate] };
}

function groupedGemmWeight(random: Random): Call {
  const { shape, offsets, total, d, f, experts, matrices } = groups(random);
  const [dy, x] = [input(random, total * f), input(random, total * d)];
  return { shape, slots: [dy, x, ints(offsets), matrices(() => output(d * f)), experts, d, f] };
}

function attention(random: Random) {
  const [queries, keys] = rarely(
    random,
    () =>
      pick(random, [
        [130, 130],
        [3, 1200],
        [300, 65],
      ]),
    () => [edge(random, 65), edge(random, 97)],
  );
  const batch = pick(random, [0, 1, 1, 2]);
  const groupCount = pick(random, [1, 1, 2, 3]);
  const heads = groupCount * pick(random, [1, 2, 3, 7]);
  const d = edge(random, 49);
  const [q, kv] = [batch * queries * heads * d, batch * keys * groupCount * d];
  // one document, several, or some padding (−1) at the end
  const documents = pick(random, [1, 1, 3]);
  const padded = random() < 0.3;
  const segments = (n: number): ArraySlot =>
    ints(
      Array.from({ length: batch * n }, (_, i) =>
        padded && i % n > 0.8 * n ? -1 : Math.floor(((i % n) * documents) / n),
      ),
    );
  const shape = { batch, queries, keys, heads, groups: groupCount, d, documents, padded };
  const window = pick(random, [2 ** 30, 2 ** 30, 1, 5, 63, 64, 65]);
  const sizes = [segments(queries), segments(keys), batch, queries, keys, heads, groupCount, d, window];
  return { shape, q, kv, scoreRows: batch * queries * heads, sizes };
}

function attentionForward(random: Random): Call {
  const { shape, q, kv, scoreRows, sizes } = attention(random);
  const inputs = [q, kv, kv].map(n => input(random, n, 0.5));
  return { shape, slots: [...inputs, output(q), output(2 * scoreRows), ...sizes] };
}

function attentionGradient(random: Random): Call {
  const { shape, q, kv, scoreRows, sizes } = attention(random);
  const [vq, vk, vv, vout, vdy] = [q, kv, kv, q, q].map(n => input(random, n, 0.5));
  const kept = statistics(random, scoreRows, 2);
  return { shape, slots: [vq, vk, vv, vout, kept, vdy, ...[q, kv, kv].map(output), ...sizes] };
}

function elementwise(random: Random, inputs: number, outputs: number): Call {
  const n = length(random);
  const read = Array.from({ length: inputs }, () => input(random, n, 3));
  return { shape: { n }, slots: [...read, ...Array.from({ length: outputs }, () => output(n)), n] };
}

/** Each side is a matrix, one row, one column or one number. */
function arithmetic(random: Random): Call {
  const [r, columns] = rarely(
    random,
    () => [1, pick(random, [16383, 16385, 40001])],
    () => rows(random),
  );
  const forms = [
    { form: 'matrix', length: r * columns, row: columns, step: 1 },
    { form: 'row', length: columns, row: 0, step: 1 },
    { form: 'column', length: r, row: 1, step: 0 },
    { form: 'number', length: 1, row: 0, step: 0 },
  ];
  const [a, b] = [pick(random, forms), pick(random, forms)];
  return {
    shape: { r, columns, a: a.form, b: b.form },
    slots: [
      input(random, a.length),
      positive(random, b.length),
      output(r * columns),
      r,
      columns,
      a.row,
      a.step,
      b.row,
      b.step,
    ],
  };
}

function embedding(random: Random, weights: typeof halves): Call {
  const [tokens, d] = rows(random);
  const vocabulary = 1 + edge(random, 33);
  const w = weights(random, vocabulary * d);
  return {
    shape: { tokens, d, vocabulary },
    slots: [w, ids(random, tokens, vocabulary), output(tokens * d), tokens, d],
  };
}

function crossEntropy(random: Random) {
  const tokens = edge(random, 33);
  const vocabulary = Math.max(
    1,
    rarely(
      random,
      () => pick(random, [1025, 5000]),
      () => edge(random),
    ),
  );
  const labels = ints(Array.from({ length: tokens }, () => (random() < 0.2 ? -100 : below(random, vocabulary))));
  return { tokens, vocabulary, labels, logits: input(random, tokens * vocabulary, 2) };
}

/** How to call each kernel of EACH_KERNEL in kernels.c. */
export const CALLS: Record<string, (random: Random) => Call> = {
  gemm,
  grouped_gemm: random => groupedGemm(random, 'forward'),
  grouped_gemm_input: random => groupedGemm(random, 'input'),
  grouped_gemm_weight: groupedGemmWeight,
  gemm_half: gemmHalf,
  grouped_gemm_half: groupedGemmHalf,
  attention: attentionForward,
  attention_gradient: attentionGradient,
  add: arithmetic,
  subtract: arithmetic,
  multiply: arithmetic,
  divide: arithmetic,
  exponential_each: random => elementwise(random, 1, 1),
  logarithm_each(random) {
    const n = length(random);
    return { shape: { n }, slots: [positive(random, n), output(n), n] };
  },
  swiglu: random => elementwise(random, 2, 1),
  swiglu_gradient: random => elementwise(random, 3, 2),
  softmax(random) {
    const [r, width] = rows(random);
    return { shape: { r, width }, slots: [input(random, r * width, 5), output(r * width), r, width] };
  },
  row_sum(random) {
    const [r, width] = rows(random, 129);
    return { shape: { r, width }, slots: [input(random, r * width), output(r), r, width] };
  },
  column_sum(random) {
    const [r, width] = rows(random, 129);
    return { shape: { r, width }, slots: [input(random, r * width), output(width), r, width] };
  },
  sum_of_squares(random) {
    const n = length(random);
    return { shape: { n }, slots: [input(random, n), output(1), n] };
  },
  rms_norm(random) {
    const [r, d] = rows(random);
    return { shape: { r, d }, slots: [input(random, r * d), input(random, d), output(r * d), r, d, 1e-5] };
  },
  rms_norm_gradient(random) {
    // a large epsilon: with a small one dx of a row of one number is the difference of two that are nearly the same
    const [r, d] = rows(random);
    const inputs = [r * d, d, r * d].map(n => input(random, n));
    return { shape: { r, d }, slots: [...inputs, output(r * d), output(d), r, d, 0.3] };
  },
  rope(random) {
    const [tokens, heads, half] = [edge(random, 33), edge(random, 9), edge(random, 33)];
    const positions = 1 + edge(random, 33);
    const x = input(random, tokens * heads * half * 2);
    const table = input(random, positions * half * 2);
    const at = ids(random, tokens, positions);
    return {
      shape: { tokens, heads, half, positions },
      slots: [x, table, at, output(x.values.length), tokens, heads, half, pick(random, [-1, 1])],
    };
  },
  cross_entropy(random) {
    const { tokens, vocabulary, labels, logits } = crossEntropy(random);
    return {
      shape: { tokens, vocabulary },
      slots: [logits, labels, output(tokens), output(2 * tokens), tokens, vocabulary],
    };
  },
  cross_entropy_gradient(random) {
    const { tokens, vocabulary, labels, logits } = crossEntropy(random);
    const kept = statistics(random, tokens, 2);
    const dy = input(random, tokens);
    return {
      shape: { tokens, vocabulary },
      slots: [logits, labels, kept, dy, output(tokens * vocabulary), tokens, vocabulary],
    };
  },
  adamw(random) {
    const n = length(random);
    const state = [changed(random, n), changed(random, n, 0)];
    return {
      shape: { n },
      slots: [changed(random, n), input(random, n), ...state, n, 0.9, 0.999, 0.99, 0.01, 1.1, 1e-8, 0.5],
    };
  },
  embedding: random => embedding(random, input),
  embedding_half: random => embedding(random, halves),
  embedding_gradient(random) {
    const [tokens, d] = rows(random);
    const vocabulary = tokens > 0 ? 1 + edge(random, 33) : edge(random, 33);
    const dy = input(random, tokens * d);
    return {
      shape: { tokens, d, vocabulary },
      slots: [dy, ids(random, tokens, vocabulary), output(vocabulary * d), tokens, vocabulary, d],
    };
  },
  gather_sum(random) {
    const [m, d] = rows(random);
    const [width, from] = [edge(random, 4), edge(random, 33)];
    const x = input(random, from * d);
    return { shape: { m, d, width, from }, slots: [x, indices(random, m * width, from), output(m * d), m, width, d] };
  },
  combine(random) {
    const [tokens, d] = rows(random);
    const [k, from] = [edge(random, 4), edge(random, 33)];
    const [y, gate] = [input(random, from * d), input(random, tokens * k)];
    return {
      shape: { tokens, d, k, from },
      slots: [y, gate, indices(random, tokens * k, from), output(tokens * d), tokens, k, d],
    };
  },
  combine_gradient(random) {
    const [tokens, d] = rows(random);
    const [k, from] = [edge(random, 4), edge(random, 33)];
    const [y, gate, dout] = [from * d, tokens * k, tokens * d].map(n => input(random, n));
    const at = indices(random, tokens * k, from);
    return {
      shape: { tokens, d, k, from },
      slots: [y, gate, dout, at, output(from * d), output(tokens * k), tokens, k, d, from],
    };
  },
  pick_columns(random) {
    const [r, width] = rows(random);
    const picks = edge(random, 4);
    const at = indices(random, r * picks, width);
    return { shape: { r, width, picks }, slots: [input(random, r * width), at, output(r * picks), r, width, picks] };
  },
  pick_columns_gradient(random) {
    const [r, width] = rows(random);
    const picks = edge(random, 4);
    const at = indices(random, r * picks, width);
    return { shape: { r, width, picks }, slots: [input(random, r * picks), at, output(r * width), r, width, picks] };
  },
};

/** So many calls of one kernel. */
export function casesOf(kernel: string, count: number, random: Random): KernelCase[] {
  return Array.from({ length: count }, () => {
    const { shape, slots } = CALLS[kernel](random);
    return {
      kernel,
      shape: Object.entries(shape)
        .map(([name, size]) => `${name} ${size}`)
        .join(', '),
      slots,
    };
  });
}
