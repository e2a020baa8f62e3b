// Rotary positions in WGSL, half rotation: channels i and i + d/2 turn by direction · position · frequency[i], an
// invocation per pair of channels (four pairs where d/2 allows it). WGSL promises of sin and cos only an absolute 2⁻¹¹,
// and an angle of thousands has no digits left in fp32, so the angle is counted in turns, as a fraction of 64 bits:
// position · turns is exact modulo a whole turn, and what is left of it after quarters is at most π/4, where short
// Taylor sums give all digits of fp32.

import type { RopeAttributes } from '../fast/rope.ts';
import { registerGpu } from './gpu.ts';
import { WORKGROUP_INDEX } from './parts.ts';

const LANES = 64;

/** Whole 2⁻³²-ths of a turn in position · turns, with `high` and `low` the 64 bits of turns behind the point. */
const FRACTION_OF_TURN = /* wgsl */ `
fn high_product(a: Words, b: Words) -> Words {
  let a0 = a & Words(0xffff);
  let a1 = a >> Words(16);
  let b0 = b & Words(0xffff);
  let b1 = b >> Words(16);
  let middle = a1 * b0 + ((a0 * b0) >> Words(16));
  return a1 * b1 + (middle >> Words(16)) + ((a0 * b1 + (middle & Words(0xffff))) >> Words(16));
}
fn fraction_of_turn(position: u32, high: Words, low: Words) -> Words {
  return position * high + high_product(Words(position), low);
}`;

/** Sine and cosine of a fraction of a turn: a quarter's number, and the rest in −π/4 … π/4. */
const SINE_AND_COSINE = /* wgsl */ `
struct SineCosine { sine: Floats, cosine: Floats }
fn sine_and_cosine(fraction: Words) -> SineCosine {
  let quarter = (fraction + Words(0x20000000)) >> Words(30);
  let x = Floats(Signed(fraction - (quarter << Words(30)))) * 1.4629180792671596e-9;
  let z = x * x;
  let s = x + x * z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880))));
  let c = 1.0 + z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 - z * (1.0 / 3628800)))));
  let odd = (quarter & Words(1)) == Words(1);
  let sine = select(s, c, odd);
  let cosine = select(c, s, odd);
  return SineCosine(select(sine, -sine, quarter >= Words(2)),
                    select(cosine, -cosine, ((quarter + Words(1)) & Words(2)) == Words(2)));
}`;

/** `pairs` of channels to an invocation: 4 or 1. */
const program = (pairs: 1 | 4) => ({
  name: `rope, ${pairs} pairs`,
  code: /* wgsl */ `
alias Floats = ${pairs === 4 ? 'vec4<f32>' : 'f32'};
alias Words = ${pairs === 4 ? 'vec4<u32>' : 'u32'};
alias Signed = ${pairs === 4 ? 'vec4<i32>' : 'i32'};
struct Parameters { tokens: u32, heads: u32, half: u32, direction: f32 }
@group(0) @binding(0) var<storage, read> x: array<Floats>;
@group(0) @binding(1) var<storage, read> positions: array<i32>;
@group(0) @binding(2) var<storage, read> turns: array<Words>;
@group(0) @binding(3) var<storage, read_write> y: array<Floats>;
@group(0) @binding(4) var<uniform> parameters: Parameters;
${WORKGROUP_INDEX}
${FRACTION_OF_TURN}
${SINE_AND_COSINE}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let half = parameters.half / ${pairs};
  let index = workgroup_index(id, count) * ${LANES} + lane;
  let vector = index / half;
  let token = vector / parameters.heads;
  if (token >= parameters.tokens) { return; }
  let i = index % half;
  let position = positions[token];
  let turn = sine_and_cosine(fraction_of_turn(u32(abs(position)), turns[i], turns[half + i]));
  let sine = turn.sine * select(parameters.direction, -parameters.direction, position < 0);
  let at = vector * 2 * half + i;
  let first = x[at];
  let second = x[at + half];
  y[at] = first * turn.cosine - second * sine;
  y[at + half] = second * turn.cosine + first * sine;
}`,
});

const [one, four] = [program(1), program(4)];

registerGpu<RopeAttributes>('MoeRope', (gpu, { x }, { position_T, frequency_h, direction }) => {
  const [tokens, heads, d] = x.shape;
  const half = d / 2;
  const vectors = half % 4 === 0;
  const y = gpu.allocate(x.shape);
  const workgroups = Math.ceil((tokens * heads * half) / (vectors ? 4 : 1) / LANES);
  gpu.withIntegers(position_T, positions =>
    gpu.withIntegers(turnsPerPosition(frequency_h), turns =>
      gpu.run(vectors ? four : one, [x, positions, turns, y], { tokens, heads, half, direction }, workgroups),
    ),
  );
  return [y];
});

/** Frequencies / 2π as fractions of 64 bits: all high words, then all low ones. Double precision leaves an error below
 *  2⁻⁵⁴ of a turn for each position. */
function turnsPerPosition(frequency_h: Float64Array): Int32Array {
  const half = frequency_h.length;
  const words = new Int32Array(2 * half);
  for (let i = 0; i < half; i++) {
    const high = (frequency_h[i] / (2 * Math.PI)) * 2 ** 32;
    words[i] = Math.floor(high);
    words[half + i] = Math.floor((high % 1) * 2 ** 32);
  }
  return words;
}
