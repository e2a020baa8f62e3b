// Numbers read and written four at a time, in 16 bytes, where rows divide by four; else one by one, by the same source.

/** How many numbers a `Value` holds. */
export type PerValue = 1 | 4;

/** 4 when rows of all these lengths are whole values of four. */
export const perValue = (...lengths: number[]): PerValue => (lengths.every(length => length % 4 === 0) ? 4 : 1);

/** WGSL: the type `Value`, `PER_VALUE`; `total(value)`, the sum of a value's numbers, and `largest(value)`;
 *  `number_of(value, i)`, one of them; `single(i, x)`, a value with x in that place and zeros elsewhere. */
export const VALUE: Record<PerValue, string> = {
  1: /* wgsl */ `
alias Value = f32;
const PER_VALUE = 1u;
fn total(value: Value) -> f32 { return value; }
fn largest(value: Value) -> f32 { return value; }
fn number_of(value: Value, i: u32) -> f32 { return value; }
fn single(i: u32, x: f32) -> Value { return x; }`,
  4: /* wgsl */ `
alias Value = vec4<f32>;
const PER_VALUE = 4u;
fn total(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
fn largest(value: Value) -> f32 { return max(max(value.x, value.y), max(value.z, value.w)); }
fn number_of(value: Value, i: u32) -> f32 { return value[i]; }
fn single(i: u32, x: f32) -> Value { return select(Value(), Value(x), vec4<u32>(0, 1, 2, 3) == vec4<u32>(i)); }`,
};

/** Both forms of a kernel. */
export const inBoth = <T>(make: (per: PerValue) => T): Record<PerValue, T> => ({ 1: make(1), 4: make(4) });
