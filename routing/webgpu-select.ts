// Softmax and choice in WGSL: p = softmax(z), S = the k best of p (+ bias), the language expert among them when forced.
// Few experts: an invocation per token, rows read and written through workgroup memory. Many: a workgroup per token, the best of all
// invocations k times over. Both choose as top-k.ts and hybrid-k.ts do from the very probabilities that they write.
//
// A GPU may compute as if there were no NaN and no infinity, and may take numbers below 2⁻¹²⁶ for 0. So those are told by their
// bits, such small probabilities are written as 0, and scores are compared as integers of the same order ("keys").

import { WORKGROUP_INDEX } from '../src/engine/webgpu/parts.ts';

/** Up to so many experts and choices a token is one invocation's. */
const FEW_EXPERTS = 32;
const FEW_CHOICES = 16;

export const isFew = (experts: number, k: number): boolean => experts <= FEW_EXPERTS && k <= FEW_CHOICES;

/** Tokens of a workgroup where each is an invocation's. */
export const TOKENS_OF_GROUP = 64;

/** Keys: 0 a NaN, 1 taken already, then all numbers by size. */
const KEYS = /* wgsl */ `
const NAN_KEY = 0u;
const TAKEN = 1u;
const NAN_BITS = 0x7fc00000u;
const LEAST = 1.17549435e-38;
fn is_nan(bits: u32) -> bool { return (bits & 0x7fffffff) > 0x7f800000; }
fn is_finite(bits: u32) -> bool { return (bits & 0x7f800000) != 0x7f800000; }
fn key_of(bits: u32) -> u32 {
  if (is_nan(bits)) { return NAN_KEY; }
  if ((bits & 0x7fffffff) == 0) { return 0x80000000; } // −0 equals 0
  return select(bits | 0x80000000, ~bits, (bits >> 31) == 1);
}
fn bits_of(key: u32) -> u32 { return select(~key, key & 0x7fffffff, (key >> 31) == 1); }
// For a maximum that a NaN wins.
fn height(bits: u32) -> u32 { return select(key_of(bits), 0xffffffff, is_nan(bits)); }
const HIGHEST = 0xff800000u; // of +∞
const LOWEST = 0x007fffffu; // of −∞
fn has_softmax(height: u32) -> bool { return height < HIGHEST && height > LOWEST; }
// e^(x − largest), 0 for −∞ and for what is nothing beside the largest.
fn exponential(bits: u32, largest: f32) -> f32 {
  if (!is_finite(bits)) { return 0; }
  let x = bitcast<f32>(bits);
  return select(0.0, exp(x - largest), x >= largest - 104);
}
fn share_bits(part: f32, sum: f32) -> u32 {
  let share = part / sum;
  return select(0, bitcast<u32>(share), share >= LEAST);
}`;

/** `chosen_key(bits, e)`: what a score of these bits counts for when expert e is chosen. */
const SCORE = /* wgsl */ `
fn hinted(bits: u32, hint: f32) -> u32 {
  return select(bits, bitcast<u32>(bitcast<f32>(bits) + hint), is_finite(bits));
}
fn chosen_key(bits: u32, e: u32) -> u32 {
  if (parameters.biased == 0 || is_nan(bits)) { return key_of(bits); }
  let own = bias[e];
  return key_of(select(own, bitcast<u32>(bitcast<f32>(bits) + bitcast<f32>(own)), is_finite(own)));
}`;

const INTERFACE = /* wgsl */ `
struct Parameters { tokens: u32, experts: u32, choices: u32, softmax: u32, biased: u32, known: u32, forced: u32, hint: f32 }
@group(0) @binding(0) var<storage, read> logits: array<u32>;
@group(0) @binding(1) var<storage, read> languages: array<i32>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> probabilities: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<i32>;
@group(0) @binding(5) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${KEYS}
${SCORE}
fn language_of(token: u32) -> u32 {
  if (parameters.known == 0) { return 0xffffffff; }
  return u32(languages[token]);
}`;

/** An invocation per token. The k best so far are kept in registers, each new score sinks to its place as in top-k.ts. */
export function selectFew(experts: number, k: number) {
  const stride = experts <= 8 ? 9 : FEW_EXPERTS + 1; // odd, so that invocations reach different banks
  const places = Array.from({ length: k }, (_, j) => j);
  // From the last place up: a score that beats the one there moves it down; one that does not stays below it.
  const rise = places.toReversed().map(
    j => /* wgsl */ `
      if (rising && e > ${j}) {
        if (key > key_${j} && key_${j} != NAN_KEY) {
          ${j + 1 < k ? `key_${j + 1} = key_${j}; id_${j + 1} = id_${j};` : ''}
          place = ${j};
        } else { rising = false; }
      }`,
  );
  return {
    name: 'choice of few experts',
    code: /* wgsl */ `
${INTERFACE}
const STRIDE = ${stride}u;
var<workgroup> rows: array<u32, ${TOKENS_OF_GROUP * stride}>;
@compute @workgroup_size(${TOKENS_OF_GROUP})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let experts = parameters.experts;
  let first = workgroup_index(id, count) * ${TOKENS_OF_GROUP};
  let size = (max(parameters.tokens, first) - first) * experts;
  for (var i = lane; i < min(size, ${TOKENS_OF_GROUP} * experts); i += ${TOKENS_OF_GROUP}) {
    rows[i / experts * STRIDE + i % experts] = logits[first * experts + i];
  }
  workgroupBarrier();
  let token = first + lane;
  let row = lane * STRIDE;
  if (token < parameters.tokens) {
    let language = language_of(token);
    if (parameters.softmax == 1) {
      if (language < experts) { rows[row + language] = hinted(rows[row + language], parameters.hint); }
      var highest = 0u;
      for (var e = 0u; e < experts; e++) { highest = max(highest, height(rows[row + e])); }
      if (has_softmax(highest)) {
        let largest = bitcast<f32>(bits_of(highest));
        var sum = 0.0;
        for (var e = 0u; e < experts; e++) {
          let part = exponential(rows[row + e], largest);
          sum += part;
          rows[row + e] = bitcast<u32>(part);
        }
        for (var e = 0u; e < experts; e++) { rows[row + e] = share_bits(bitcast<f32>(rows[row + e]), sum); }
      } else {
        for (var e = 0u; e < experts; e++) { rows[row + e] = NAN_BITS; }
      }
    }
${places.map(j => `    var key_${j} = NAN_KEY;\n    var id_${j} = 0u;`).join('\n')}
    for (var e = 0u; e < experts; e++) {
      let key = chosen_key(rows[row + e], e);
      var place = min(e, ${k}u);
      var rising = true;
${rise.join('')}
${places.map(j => `      if (place == ${j}) { key_${j} = key; id_${j} = e; }`).join('\n')}
    }
    if (parameters.forced == 1 && language < experts) {
      if (${places.map(j => `id_${j} != language`).join(' && ')}) { id_${k - 1} = language; }
    }
${places.map(j => `    ids[token * ${k} + ${j}] = i32(id_${j});`).join('\n')}
  }
  if (parameters.softmax == 0) { return; }
  workgroupBarrier();
  for (var i = lane; i < min(size, ${TOKENS_OF_GROUP} * experts); i += ${TOKENS_OF_GROUP}) {
    probabilities[first * experts + i] = rows[i / experts * STRIDE + i % experts];
  }
}`,
  };
}

/** A workgroup of 64 per token, any k. A NaN among the first k ids keeps its own place, and what comes after it does not pass it,
 *  as in top-k.ts: place j goes to the best untaken id below the next such NaN. */
export const selectMany = (experts: number) => ({
  name: 'choice of many experts',
  code: /* wgsl */ `
${INTERFACE}
const EXPERTS = ${experts}u;
var<workgroup> row: array<u32, ${experts}>; // bits of logits, of exponentials, of probabilities; then keys
var<workgroup> tree: array<u32, 64>;
var<workgroup> tree_ids: array<u32, 64>;
var<workgroup> sums: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = workgroup_index(id, count);
  let token = min(group, parameters.tokens - 1); // workgroups beyond the last repeat it and write nothing
  let writes = group < parameters.tokens;
  let language = language_of(token);
  var highest = 0u;
  for (var e = lane; e < EXPERTS; e += 64) {
    var bits = logits[token * EXPERTS + e];
    if (parameters.softmax == 1 && e == language) { bits = hinted(bits, parameters.hint); }
    row[e] = bits;
    highest = max(highest, height(bits));
  }
  tree[lane] = highest;
  for (var half = 32u; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { tree[lane] = max(tree[lane], tree[lane + half]); }
  }
  highest = workgroupUniformLoad(&tree[0]);
  if (parameters.softmax == 1) {
    let sound = has_softmax(highest);
    let largest = bitcast<f32>(select(0, bits_of(highest), sound));
    var sum = 0.0;
    for (var e = lane; e < EXPERTS; e += 64) {
      let part = exponential(row[e], largest);
      sum += part;
      row[e] = bitcast<u32>(part);
    }
    sums[lane] = sum;
    for (var half = 32u; half > 0; half /= 2) {
      workgroupBarrier();
      if (lane < half) { sums[lane] += sums[lane + half]; }
    }
    sum = workgroupUniformLoad(&sums[0]);
    for (var e = lane; e < EXPERTS; e += 64) {
      let bits = select(NAN_BITS, share_bits(bitcast<f32>(row[e]), sum), sound);
      if (writes) { probabilities[token * EXPERTS + e] = bits; }
      row[e] = bits;
    }
  }
  for (var e = lane; e < EXPERTS; e += 64) { row[e] = chosen_key(row[e], e); }
  var forced = parameters.forced == 1 && language < EXPERTS;
  var wall = 0u;
  for (var j = 0u; j < parameters.choices; j++) {
    workgroupBarrier();
    wall = max(wall, j);
    while (wall < parameters.choices && row[wall] != NAN_KEY) { wall++; }
    let end = select(EXPERTS, wall, wall < parameters.choices);
    var best = 0u;
    var best_id = j; // when nothing is left below the wall, it stands here
    for (var e = lane; e < end; e += 64) {
      if (row[e] > max(best, TAKEN)) { best = row[e]; best_id = e; }
    }
    tree[lane] = best;
    tree_ids[lane] = best_id;
    for (var half = 32u; half > 0; half /= 2) {
      workgroupBarrier();
      if (lane < half) {
        let other = tree[lane + half];
        let other_id = tree_ids[lane + half];
        if (other > tree[lane] || (other == tree[lane] && other_id < tree_ids[lane])) {
          tree[lane] = other;
          tree_ids[lane] = other_id;
        }
      }
    }
    var chosen = workgroupUniformLoad(&tree_ids[0]);
    forced = forced && chosen != language;
    if (forced && j == parameters.choices - 1) { chosen = language; }
    if (lane == 0) {
      row[chosen] = TAKEN;
      if (writes) { ids[token * parameters.choices + j] = i32(chosen); }
    }
  }
}`,
});
